# The numbers that tests/test_reader_study_statistics_ordinal.py expects of the mixed model; run once:
#   Rscript tests/oracles/ordinal.R
# R 4.2.2, ordinal 2022.11.16, MASS 7.3-58.2 (Debian 12: r-cran-ordinal, r-cran-mass).
library(ordinal)
library(MASS)
options(digits = 10)

# The data set is built by arithmetic, so that the test builds the same; see `arithmetic_scores` there.
made <- function(readers, cases, arms) {
  d <- expand.grid(arm = 0:(arms - 1), case = 0:(cases - 1), reader = 0:(readers - 1))
  noise <- ((d$arm * 7919 + d$case * 104729 + d$reader * 1299709 + d$arm * d$case * 31 + d$case * d$reader * 17) %% 997 + 0.5) / 997
  reader <- c(-0.6, 0.1, 0.5, -0.2, 0.3)[d$reader %% 5 + 1]
  case <- 1.2 * sin(3 * d$case + 1)
  own <- 0.7 * cos(5 * d$case + 2 * d$arm)
  latent <- c(0, 0.4, 1.3, 1.9)[d$arm %% 4 + 1] + reader + case + own + log(noise / (1 - noise))
  d$score <- 1 + (latent > -2) + (latent > -0.5) + (latent > 1) + (latent > 2.5)
  d
}

report <- function(name, fit, arms) {
  cat("\n==", name, "\n")
  print(coef(summary(fit))[, 1:2])
  cat("logLik", format(logLik(fit), digits = 12), "\n")
  for (term in names(VarCorr(fit))) cat(term, "variance", attr(VarCorr(fit)[[term]], "stddev")^2, "\n")
}

d <- made(5, 40, 4)
for (v in c("arm", "case", "reader")) d[[v]] <- factor(d[[v]])
y <- factor(d$score)
print(table(d$arm, d$score))
plain <- clmm(y ~ arm + (1 | reader) + (1 | case), data = d, control = clmm.control(gradTol = 1e-8))
report("clmm, reader and case", plain)
nested <- clmm(y ~ arm + (1 | reader) + (1 | case) + (1 | case:arm), data = d, control = clmm.control(gradTol = 1e-8))
report("clmm, reader, case and case within arm", nested)
holes <- d[(as.integer(d$case) * 3 + as.integer(d$reader) * 5 + as.integer(d$arm)) %% 7 != 0, ]
report("clmm, one answer in seven missing", clmm(factor(score) ~ arm + (1 | reader) + (1 | case), data = holes, control = clmm.control(gradTol = 1e-8)))
cat("rows", nrow(holes), "\n")
cat("\n== polr, no random effects\n")
fixed <- polr(y ~ arm, data = d, Hess = TRUE, control = list(reltol = 1e-14))
print(coef(summary(fixed))[, 1:2])
cat("logLik", format(logLik(fixed), digits = 12), "\n")
