"""benchmarks/opponents.py: another system's images are scored as our own are, under the same protocol."""

import importlib
import json
import pathlib
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from tfmisr import evaluate
from tfmisr.edge.errors import InputError

ROOT = pathlib.Path(__file__).resolve().parent.parent
NEAREST = (
    "import pathlib, sys; import numpy as np; from PIL import Image\n"
    "for path in pathlib.Path(sys.argv[1]).iterdir():\n"
    "    lr = np.asarray(Image.open(path))\n"
    "    Image.fromarray(lr.repeat(4, 0).repeat(4, 1)).save(pathlib.Path(sys.argv[2], path.name))\n"
)


@pytest.fixture
def opponents(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("opponents")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images of four patients in `hr`, and what nearest-neighbor interpolation by Pillow and NumPy made of them."""
    folder = tmp_path_factory.mktemp("opponents")
    rng = np.random.default_rng(0)
    for i in range(12):
        (folder / "hr" / f"patient{i}").mkdir(parents=True)
        Image.fromarray(rng.integers(0, 256, (64, 64), np.uint8)).save(folder / "hr" / f"patient{i}" / "a.png")
    return folder


def flags(folder, *further):
    given = ("--dataset", folder / "hr", "--data_dir", folder / "data", "--output", folder / "out")
    return [str(flag) for flag in (*further, *given)]


@pytest.mark.large
def test_a_command_and_its_images_score_as_the_same_interpolation_of_ours(opponents, folder):
    """Nearest-neighbor interpolation by NumPy's `repeat` is bit for bit what ours is; the protocol is `evaluate`'s."""
    assert opponents.main(["prepare", *flags(folder)]) == 0
    shutil.rmtree(folder / "sr", ignore_errors=True)
    (folder / "sr").mkdir()
    command = f"{sys.executable} -c '{NEAREST}' {{lr}} {{sr}}"
    opponents.run("theirs", command, folder / "out" / "x4" / "lr", folder / "sr")
    named = ["--images", f"folder={folder / 'sr'}", "--command", f"command={command}"]
    assert opponents.main(["score", "nearest", *flags(folder, *named)]) == 0
    found = json.loads((folder / "out" / "x4" / "metrics.json").read_text())
    rows = {name: {k: v for k, v in row.items() if k != "parameters"} for name, row in found["models"].items()}
    assert rows["folder"] == rows["command"] == rows["nearest"] != rows["bicubic"]
    own = folder / "own"
    evaluate.main(
        ["nearest", "--scale", "4", "--degradation", "bicubic(rounding=pillow8)", "--output", str(own)]
        + ["--dataset", str(folder / "hr"), "--data_dir", str(folder / "data")]
    )
    assert json.loads((own / "metrics.json").read_text())["protocol"] == found["protocol"]


def test_missing_and_wrong_images_are_refused(opponents, tmp_path):
    lr = np.zeros((4, 5, 1), np.float32)
    files = {opponents._key(lr): "00000.png"}
    with pytest.raises(InputError, match=r"one SR image for each of 1 LR images .* as 00000\.png"):
        opponents.of_folder("theirs", tmp_path, files, 2)
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(tmp_path / "00000.png")
    system = opponents.of_folder("theirs", tmp_path, files, 2)
    with pytest.raises(InputError, match=r"expected 00000\.png of \(8, 10, 1\), uint8\. Received: \(8, 9, 1\)"):
        system(lr, 2, 255)
    color = np.zeros((8, 10, 3), np.uint8)
    color[..., 0], color[..., 1], color[..., 2] = 10, 20, 30
    Image.fromarray(color).save(tmp_path / "00000.png")
    assert (system(lr, 2, 255) == 18).all()  # 2.99 + 11.74 + 3.42


def test_a_command_that_fails_is_one_line(opponents, tmp_path):
    with pytest.raises(InputError, match="theirs: .*exit status 3"):
        opponents.run("theirs", f"{sys.executable} -c 'raise SystemExit(3)'", tmp_path, tmp_path)
    with pytest.raises(InputError, match="theirs: .*not-there"):
        opponents.run("theirs", "not-there {lr}", tmp_path, tmp_path)
    with pytest.raises(InputError, match="expected NAME=FOLDER"):
        opponents._named("folder")


README = """Text.

| | x2: PSNR | center | ms | x4: PSNR | center | 90 % |
|---|---:|---:|---:|---:|---:|---:|
| bicubic | 1 | 2 | 3 | 4 | 5 | |
| theirs (ncnn) | 1.00 | **2.00** | 413 | | | |
| `fast-x2`, `fast-x4` | 9.00 | 9.00 | 32 | 9.00 | 9.00 | 3.60 |

More.
"""


def scores_of(**rows):
    return {name: {"psnr": psnr, "psnr_center": center} for name, (psnr, center) in rows.items()}


def test_readme_table_has_the_scores_of_both_scales_and_keeps_the_other_columns(opponents):
    """Issue 19, "the opponents": README's table is made from `metrics.json`; the best of a column is in bold."""
    two = scores_of(bicubic=(39.714, 44.484), **{"theirs (ncnn)": (42.2, 44.8), "fast-x2": (43.95, 44.8)})
    four = scores_of(bicubic=(35.86, 40.1), new=(30.0, 50.0), **{"fast-x4": (38.0, 41.444)})
    found = opponents.readme_table(README, {2: two, 4: four})
    assert found.splitlines() == [
        *README.splitlines()[2:4],
        "| bicubic | 39.71 | 44.48 | 3 | 35.86 | 40.10 | |",
        "| theirs (ncnn) | 42.20 | **44.80** | 413 | | | |",
        "| `fast-x2`, `fast-x4` | **43.95** | **44.80** | 32 | **38.00** | 41.44 | 3.60 |",
        "| new | | | | 30.00 | **50.00** | |",
    ]
    with pytest.raises(InputError, match="expected one score of `fast-x2`, `fast-x4` at x4. Received: 0"):
        opponents.readme_table(README, {2: two, 4: scores_of(bicubic=(1, 1))})
    with pytest.raises(InputError, match="expected a table with the columns x2: PSNR, x4: PSNR"):
        opponents.readme_table("no table", {2: two, 4: four})


def test_the_table_of_readme_itself_is_found(opponents):
    rows = {scale: scores_of(bicubic=(1, 1)) for scale in (2, 4)}
    text = opponents.README.read_text()
    with pytest.raises(InputError, match=r"expected one score of (?!bicubic).* at x2\. Received: 0"):
        opponents.readme_table(text, rows)


def test_table_needs_the_scores_of_both_scales(opponents, tmp_path):
    with pytest.raises(InputError, match="run the step score with --scale 2 first"):
        opponents.main(["table", "--output", str(tmp_path)])
