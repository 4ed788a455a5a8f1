"""The robust tier is named where it has an image in scope that another model has not, and only then (T-31)."""

import numpy as np
import pytest
from dicom_sources import cr
from tiny_network import picture
from trust_doubles import IN_SCOPE, OUT_OF_SCOPE, UNUSUAL, Verdicts, calibrated

from tfmisr import upscale
from tfmisr.edge import images, shipped
from tfmisr.edge.errors import InputError
from tfmisr.edge.upscaler import Upscaler
from tfmisr.inference import alternative, examination, reporting, upscalers


@pytest.fixture
def robust(monkeypatch):
    """A model `robust-x2` that repeats pixels, and the verdicts of its card, first `in scope`."""
    check, seen = Verdicts([IN_SCOPE]), []

    def repeat(lr, scale, convert=None, dtype=np.float32):
        seen.append(lr)
        return np.repeat(np.repeat(lr, scale, 0), scale, 1)

    monkeypatch.setattr(alternative, "_loaded", lambda name: (Upscaler(name, repeat, 2), check))
    monkeypatch.setattr(shipped, "names", lambda: ["fast-x2", "robust-x2"])
    check.seen = seen
    return check


def arguments(model, folder):
    images.write_image(folder / "in.png", np.rint(255 * picture(40, 44)).astype(np.uint8), 255)
    return ["--model", str(model), str(folder / "in.png"), "--output", str(folder / "out.png")]


def test_refusal_names_the_model_that_has_the_image_in_scope(tmp_path, monkeypatch, robust):
    model = calibrated(tmp_path, monkeypatch, OUT_OF_SCOPE)
    with pytest.raises(InputError, match="choose --model robust-x2, or add --force"):
        upscale.main(arguments(model, tmp_path))
    assert len(robust.seen) == 1 and robust.seen[0].max() <= 1
    robust.verdicts[:] = [UNUSUAL]
    with pytest.raises(InputError, match="choose another model, or add --force"):
        upscale.main(arguments(model, tmp_path))


def test_warning_names_it_too(tmp_path, monkeypatch, robust, capsys):
    upscale.main(arguments(calibrated(tmp_path, monkeypatch, UNUSUAL), tmp_path))
    assert capsys.readouterr().err.rstrip().endswith("; --model robust-x2 is made for it")
    upscale.main([*arguments(calibrated(tmp_path, monkeypatch, IN_SCOPE), tmp_path), "--overwrite"])
    assert "robust" not in capsys.readouterr().err and len(robust.seen) == 1


def test_another_frame_than_the_first_is_not_told_of_a_model_that_did_not_test_it(robust):
    check, image = Verdicts([UNUSUAL, OUT_OF_SCOPE]), np.rint(255 * picture(40, 44))
    checks = examination.Checks(upscalers.load("fast-x2"), applicability=check)
    found = examination.Examination(checks, 2, "cine.dcm", suggest=True)
    sr = np.repeat(np.repeat(image, 2, 0), 2, 1)
    found.add((image / 255).astype(np.float32), sr, 255)
    assert found.alternative == "robust-x2" and reporting.warning(found).endswith("--model robust-x2 is made for it")
    with pytest.raises(InputError, match="frame 2, is out of scope .* choose another model"):
        found.add((image / 255).astype(np.float32), sr, 255)
    assert "robust" not in reporting.warning(found)


def test_it_is_not_looked_for_unless_asked(robust):
    """An image of an archive has a limit of memory, which a second network would exceed."""
    checks = examination.Checks(upscalers.load("fast-x2"), applicability=Verdicts([UNUSUAL]))
    image = np.rint(255 * picture(40, 44))
    found = examination.Examination(checks, 2, "in.png")
    found.add((image / 255).astype(np.float32), np.repeat(np.repeat(image, 2, 0), 2, 1), 255)
    assert found.alternative == "" and robust.seen == []


def test_image_and_header_are_tested_as_they_are_stored(robust):
    """The double checks sizes and the range; the header reaches it."""
    header, lr = cr(), np.rint(4095 * picture(40, 44))
    given = upscalers.load("fast-x2")
    assert alternative.name(given, lr, 4095, header) == "robust-x2" and robust.headers == [header]
    np.testing.assert_allclose(robust.seen[0] * 4095, lr, atol=1e-3)


def test_no_other_model_no_name(robust, monkeypatch):
    lr = np.zeros((40, 40, 1), np.float32)
    assert not alternative.name(Upscaler("robust-x2", None, 2), lr, 255)
    assert not alternative.name(Upscaler("fast-x8", None, 8), lr, 255)
    assert robust.seen == []
