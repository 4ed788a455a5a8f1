"""Signals from a user's masks, AUC against contrast, and measurements that were interrupted (T-40, T-45)."""

import hashlib
import json
import types

import numpy as np
import pytest
from PIL import Image
from synthetic import ArraySource, backgrounds

from tfmisr import data, observe
from tfmisr.edge.errors import InputError
from tfmisr.inference import upscalers
from tfmisr.observers import masks, parts, tasks, windows


def written(folder, mask, name="lesion.npy", /, **fields):
    """Writes a mask and a task file that names it; returns the latter."""
    if name.endswith(".png"):
        Image.fromarray(mask).save(folder / name)
    else:
        np.save(folder / name, mask)
    path = folder / "own.json"
    path.write_text(json.dumps({"signal": "mask", "mask": name, "contrast": 20, **fields}))
    return path


def test_mask_is_a_signal_at_the_center_of_the_window(tmp_path):
    """T-40: the contrast is the height at the mask's largest value, whatever its unit; the hash is of its pixels."""
    mask = np.zeros((9, 12), np.uint8)
    mask[1:8, 2:10] = 1
    mask[4, 5] = 4
    task = tasks.load(written(tmp_path, mask))
    assert task.size == 8 and task.name == "own"
    expected = np.zeros((64, 64))
    expected[28:37, 26:38] = mask / 4
    assert task.profile().tolist() == expected.tolist()
    window = np.full((64, 64), 100.0)
    assert task.inserted(window, task.profile(), 255)[32, 31] == pytest.approx(100 + 20)
    same = tasks.load(written(tmp_path, mask * 60, "lesion.png", size=8))
    assert same.hash == task.hash and same != task
    assert task.described()["mask_sha256"] == hashlib.sha256(expected.tobytes()).hexdigest()
    assert "mask" not in task.described() and str(tmp_path) not in json.dumps(task.described())
    mask[4, 5] = 3
    assert tasks.load(written(tmp_path, mask)).hash != task.hash
    (tmp_path / "lesion.npy").unlink()
    assert task.with_contrast(5).profile() is task.profile() and task.with_contrast(5).contrast == 5
    negative = tasks.load(written(tmp_path, -np.eye(6), size=4.8, size_unit="mm", pixel_spacing=0.8))
    assert negative.profile().min() == -1 and negative.profile().max() == 0


@pytest.mark.parametrize(
    "mask, fields, message",
    [
        (np.ones((60, 4)), {}, "at most 48x48 pixels .*; received 60x4; crop it"),
        (np.ones((8, 8)), {"size": 12}, "longer side is 12.0 pixels, as size says, received 8"),
        (np.ones((8, 8)), {"size": 8, "size_unit": "mm", "pixel_spacing": 0.5}, "longer side is 16.0 pixels"),
        (np.zeros((8, 8)), {}, "a mask of two dimensions with finite values, some not 0"),
        (np.ones((8, 8, 3)), {}, "a mask of two dimensions"),
        (np.full((8, 8), np.nan), {}, "a mask of two dimensions with finite values"),
        (np.ones((8, 8)), {"against": "bar"}, "a mask has neither options nor another signal"),
        (np.ones((8, 8)), {"mask": "other.npy"}, "expected a mask at .*other.npy: No such file"),
        (np.ones((8, 8)), {"mask": "own.json"}, "expected a mask in a .png or .npy file"),
        (np.ones((8, 8)), {"mask": None, "size": 8}, "the signal mask and a file in the field mask go together"),
        (np.ones((8, 8)), {"signal": "disk", "size": 8}, "the signal mask and a file in the field mask go together"),
        (np.array([["a"]]), {}, "expected a mask of numbers"),
        (np.array([[{}]]), {}, "is no array that NumPy can read without pickle"),
    ],
)
def test_wrong_masks_are_refused(tmp_path, mask, fields, message):
    """T-40: the size is checked."""
    with pytest.raises(InputError, match=message):
        tasks.load(written(tmp_path, mask, **fields))


def test_pictures_that_are_no_masks_are_refused(tmp_path):
    """T-40"""
    Image.new("RGB", (8, 8)).save(tmp_path / "color.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(InputError, match="a gray PNG without palette or alpha .*Received: RGB"):
        masks.read(tmp_path / "color.png", 64)
    with pytest.raises(InputError, match="is no PNG that can be read"):
        masks.read(tmp_path / "broken.png", 64)


def test_tasks_of_earlier_releases_keep_their_hash():
    """T-40: the hash of SHA-256 over the fields, without the field that masks brought."""
    fields = {"signal": "dot", "size": 0.8, "contrast": 30, "options": {}, "against": None, "size_unit": "pixels"}
    fields |= {"pixel_spacing": None, "contrast_unit": "levels", "insertion": "additive", "channels": "ddog"}
    assert tasks.load("dot").hash == hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]


# -- AUC against contrast, and interruption -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def radiographs(tmp_path_factory):
    return ArraySource(tmp_path_factory.mktemp("observed"), {"test": backgrounds(32, 88)})


FLAGS = ["lanczos", "--task", "dot", "--scale", "2", "--observer", "npw", "--output"]


def test_auc_against_contrast_is_that_of_tasks_with_these_contrasts(radiographs, tmp_path, monkeypatch):
    """T-45: in ascending order, beside the task's own; images without the signal are upscaled once."""
    monkeypatch.setattr(data, "load_for", lambda *_: radiographs)
    calls, plain = [], windows.arms
    monkeypatch.setattr(windows, "arms", lambda *a: calls.append(0) or plain(*a))
    assert observe.main([*FLAGS, str(tmp_path / "a"), "--contrasts", "0.5", "0"]) == 0
    assert len(calls) == 32 * 3  # absent, which is the contrast of 0 as well, 15 and 30
    (result,) = json.loads((tmp_path / "a" / "observe.json").read_text())["tasks"]
    assert [point["contrast"] for point in result["contrasts"]] == [0, 15, 30]
    nothing, half, full = (point["arms"]["lanczos"] for point in result["contrasts"])
    assert nothing["auc"] == 0.5 and nothing["difference"] == 0 < half["auc"] < full["auc"]
    assert full["auc_low"] == result["arms"]["lanczos"]["auc_low"]
    task = tmp_path / "weak.json"
    task.write_text(json.dumps({"signal": "dot", "size": 0.8, "contrast": 15}))
    assert observe.main([*FLAGS, str(tmp_path / "b"), "--task", str(task)]) == 0
    (alone,) = json.loads((tmp_path / "b" / "observe.json").read_text())["tasks"]
    assert {key: alone["arms"]["lanczos"][key] for key in half} == half and "contrasts" not in alone
    assert "AUC (95 %) at 15 levels of 8 bits" in (tmp_path / "a" / "report.md").read_text()
    assert (tmp_path / "a" / "dot_contrasts.png").stat().st_size > 5_000
    assert "AUC against contrast of dot" in (tmp_path / "a" / "report.html").read_text()
    with pytest.raises(InputError, match="contrasts must be multiples of 0 or more. Received: -1"):
        observe.main([*FLAGS, str(tmp_path / "c"), "--contrasts", "-1"])


def test_interrupted_command_resumes_with_the_same_result(radiographs, tmp_path, monkeypatch):
    """T-45: Ctrl-C says that the same command resumes: finished images are not upscaled again."""
    monkeypatch.setattr(data, "load_for", lambda *_: radiographs)
    assert observe.main([*FLAGS, str(tmp_path / "whole")]) == 0
    calls, plain = [], windows.arms

    def interrupted(*arguments):
        calls.append(0)
        if len(calls) == 41:
            raise KeyboardInterrupt
        return plain(*arguments)

    monkeypatch.setattr(windows, "arms", interrupted)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        observe.main([*FLAGS, str(out)])
    (stored,) = out.iterdir()
    assert stored.name == parts.FOLDER and len(list(stored.iterdir())) == 40
    next(stored.iterdir()).write_bytes(b"damaged")
    assert observe.main([*FLAGS, str(out)]) == 0
    assert len(calls) == 41 + 64 - 39
    for name in ("observe.json", "report.html", "dot.png"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not stored.exists()


def test_mistake_that_is_found_late_leaves_nothing(tmp_path):
    """Folders of the user stay."""
    for out, before in ((tmp_path / "new", False), (tmp_path / "old", True)):
        if before:
            out.mkdir()
        with pytest.raises(InputError), parts.Parts(out) as store:
            assert store.get("a", lambda: np.arange(3)).tolist() == [0, 1, 2]
            assert store.get("a", None).tolist() == [0, 1, 2]
            raise InputError("wrong")
        assert out.exists() == before and not (before and any(out.iterdir()))


def test_finished_images_belong_to_one_setting():
    """A part of another model, image, place, seed or noise has another key."""
    image, other = np.zeros((4, 4)), np.zeros((4, 4), np.uint8)
    bicubic, lanczos = upscalers.load("bicubic"), upscalers.load("lanczos")
    plain = types.SimpleNamespace(describe=lambda: "Bicubic(scale=2)", fixed=True)
    noisy = types.SimpleNamespace(describe=lambda: "Bicubic(scale=2) Noise(sigma=1)", fixed=False)
    base = [[bicubic], 2, plain, 255, [0, 6, 9]]
    changed = [[[lanczos], 2, plain, 255, [0, 6, 9]], [[bicubic], 4, plain, 255, [0, 6, 9]]]
    changed += [[[bicubic], 2, noisy, 255, [0, 6, 9]], [[bicubic], 2, noisy, 255, [1, 6, 9]]]
    assert parts.fields(*base) == parts.fields(*base[:4], [1, 6, 9])  # there is no noise
    keys = {parts.key([image], parts.fields(*fields)) for fields in (base, base, *changed)}
    assert len(keys) == 5
    assert len({parts.key([a], parts.fields(*base)) for a in (image, other, image + 1)}) == 3
