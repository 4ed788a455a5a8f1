"""A shipped model with an uncertainty and an applicability that tests choose: no training, no calibration."""

import dataclasses

import numpy as np

from tfmisr.edge import card, shipped, uncertainty
from tfmisr.edge.applicability import Verdict
from tfmisr.inference import batch, examination

SCALE, MULTIPLIER = 0.01, 1.2  # of the head's map, everywhere, and of its calibration
HALF_WIDTH = 0.012  # of full scale
CALIBRATION = {"alpha": 0.1, "delta": 0.1, "confidence": None, "patients": 57}


class ConstantHead:
    """An uncertainty head that is the same everywhere, but twice as large in the upper left 16x16 pixels."""

    def __init__(self, path, threads=1):
        main = card.read(path)
        self.card = {"model_sha256": main["weights_sha256"], "weights_sha256": "cd" * 32}

    def scale_map(self, lr, sr, max_val=1.0):
        assert 1 < np.max(sr) <= max_val and sr.shape[0] % lr.shape[0] == 0
        out = np.full(sr.shape, SCALE, np.float32)
        out[:16, :16] *= 2
        return out


@dataclasses.dataclass
class Verdicts:
    """An applicability check with given verdicts, one for each frame; the last is repeated."""

    verdicts: list
    headers: list = dataclasses.field(default_factory=list)
    reference: object = "statistics"

    def check(self, lr, sr, max_val=1.0, header=None):
        assert lr.max() <= max_val and sr.shape[0] == 2 * lr.shape[0]
        self.headers.append(header)
        return self.verdicts.pop(0) if len(self.verdicts) > 1 else self.verdicts[0]


IN_SCOPE = Verdict("in scope", 0.43)
UNUSUAL = Verdict("unusual", 0.031, ("JPEG blocks", "noise 3 times that of training"))
OUT_OF_SCOPE = Verdict("out of scope", 0.002, ("noise 9 times",), ("Modality (0008,0060) is MR, the model is for CR",))


def calibrated(tmp_path, monkeypatch, *verdicts, levels=("0.1", "0.32")):
    """Returns the path of `fast-x2` with a card that has an uncertainty, and with verdicts an applicability."""
    content = shipped.path("fast-x2").read_bytes()
    fields = card.check(content, "fast-x2")
    level = {"multiplier": MULTIPLIER, "k": 53}
    fields["uncertainty"] = {
        "head": {"weights_sha256": "cd" * 32},
        "groups": None,
        "levels": dict.fromkeys(levels, level),
        "calibration": CALIBRATION,
    }
    fields["applicability"] = None
    if verdicts:
        check = Verdicts(list(verdicts))
        monkeypatch.setattr(examination, "_applicability", lambda fields: check)
    path = tmp_path / "model.tflite"
    path.write_bytes(card.replace(content, fields))
    monkeypatch.setattr(uncertainty, "find", lambda path: path)
    monkeypatch.setattr(uncertainty, "Head", ConstantHead)
    batch._checks.cache_clear()
    return path
