"""Prints the expected values of tests/test_reader_study_statistics_agreement.py; run once in a separate environment.

pingouin 0.6.1, krippendorff 0.9.0, irrCAC 0.4.4, scikit-learn 1.9.1, Python 3.11. The first two are GPL.
"""

import irrCAC.raw
import krippendorff
import numpy as np
import pandas
import pingouin
import sklearn.metrics

SHROUT_FLEISS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
N = np.nan
SCALE = [1, 2, 3, 4, 5]
KRIPPENDORFF = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
    [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
]
# Eight images, three readers, on 1 to 5.
RATINGS = np.array([[4, 5, 4], [2, 2, 3], [5, 5, 5], [3, 4, 4], [1, 2, 1], [4, 4, 3], [2, 3, 2], [5, 4, 5]])

for name, table in (("Shrout-Fleiss", np.array(SHROUT_FLEISS)), ("ratings", RATINGS)):
    images, readers = np.indices(table.shape)
    long = pandas.DataFrame({"image": images.ravel(), "reader": readers.ravel(), "score": table.ravel()})
    print(name, pingouin.intraclass_corr(long, "image", "reader", "score").to_string())
for level in ("nominal", "ordinal", "interval"):
    print(level, krippendorff.alpha(KRIPPENDORFF, level_of_measurement=level))
    print(level, "ratings", krippendorff.alpha(RATINGS.T, level_of_measurement=level))
for table in (np.array(KRIPPENDORFF).T, RATINGS):
    frame = pandas.DataFrame(table)
    found = irrCAC.raw.CAC(frame, weights="quadratic", categories=SCALE).gwet()
    print("AC2", found["est"]["coefficient_value"])
kappa = sklearn.metrics.cohen_kappa_score(RATINGS[:, 0], RATINGS[:, 1], weights="quadratic", labels=SCALE)
print("kappa", kappa)
