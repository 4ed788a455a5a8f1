# The numbers that tests/test_reader_study_statistics_preferences.py expects of the Bradley-Terry model; run once:
#   Rscript tests/oracles/preferences.R
# R 4.2.2, BradleyTerry2 1.1-2 (Debian 12: r-cran-bradleyterry2). Ties are Davidson's and checked by hand there.
library(BradleyTerry2)
options(digits = 10)
d <- data.frame(
  a = factor(c("A", "A", "B"), levels = c("A", "B", "C")), b = factor(c("B", "C", "C"), levels = c("A", "B", "C")),
  won = c(7, 9, 6), lost = c(3, 1, 4)
)
print(summary(BTm(cbind(won, lost), a, b, data = d))$coefficients)
print(packageVersion("BradleyTerry2"))
