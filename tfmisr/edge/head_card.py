"""The fields of the card of an uncertainty head, `NAME.uncertainty.tflite`, that its runtime reads.

The card is stored as that of a model (`tfmisr.edge.card`) and binds the head to its model: `model_sha256` is the
`weights_sha256` of `NAME.tflite`, which stays the same when that file's own card is replaced.
"""

import math

from tfmisr.edge.uncertainty_inputs import STATISTICS

KIND = "uncertainty_head"
_MOST_OVERLAP = 64


def _are_numbers(values: list) -> bool:
    return len(values) == len(STATISTICS) and all(math.isfinite(value) for value in values)


# Field to its validity check.
RUNTIME = {
    "kind": lambda v: v == KIND,
    "scale": lambda v: type(v) is int and v in (2, 3, 4, 8),
    "channels": lambda v: type(v) is int and v in (1, 3),
    "overlap": lambda v: type(v) is int and 0 <= v <= _MOST_OVERLAP,
    "model_sha256": lambda v: len(v) == 64,
    "log_range": lambda v: len(v) == 2 and -20 < v[0] < v[1] <= 0,
    "context": lambda v: all(_are_numbers(v[key]) for key in ("mean", "deviation")),
    "weights_sha256": lambda v: len(v) == 64,
}
