"""Commands and Python examples of README.md and docs/, and small inputs under the names that they use."""

import pathlib
import re
import shutil

import keras
import pydicom.data
from series_sources import small
from synthetic import smooth_images

from tfmisr import models
from tfmisr.edge import images

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = r"(?ms)^```{language}\n(.*?)^```$"


def name(page: pathlib.Path) -> str:
    """Returns a page's path in the repository."""
    return str(page.relative_to(ROOT))


def blocks(page: pathlib.Path, language: str) -> list[str]:
    """Returns the fenced code blocks of a language."""
    return re.findall(_BLOCK.format(language=language), page.read_text(encoding="utf-8"))


def commands(page: pathlib.Path) -> list[str]:
    """Returns the command lines of a page's ```bash blocks, continued lines joined."""
    lines = "\n".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
    lines = [re.sub(r"\s+# .*", "", line) for line in lines]
    return [" ".join(line.split()) for line in lines if line.strip()]


def mentions(page: pathlib.Path) -> list[str]:
    """Returns the commands of tfmisr, benchmarks and pip within a page's text, as `python -m tfmisr.fit --help`."""
    text = re.sub(
        _BLOCK.format(language="[a-z]*"), "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    found = re.findall(r"`((?:python -m tfmisr|python benchmarks/|tfmisr [a-z]|pip install)[^`]*)`", text)
    return [" ".join(command.split()) for command in found]


def make_inputs(folder: pathlib.Path) -> None:
    """Writes what the examples read: images of ten patients, DICOM files, an untrained network."""
    for part, (count, side) in {"scans": (20, 64), "folder": (2, 64), "sharp_scans": (20, 128)}.items():
        _write_images(folder / part, count, side)
    shutil.copytree(folder / "sharp_scans", folder / "coarse_scans")
    shutil.copy(folder / "scans" / "patient00" / "0.png", folder / "image.png")
    source = pydicom.data.get_testdata_file("CT_small.dcm")  # 128x128 pixels
    (folder / "manifest.csv").write_text("source,target\nimage.png,0.png\nscans/patient01/2.png,1.png\n")
    (folder / "series").mkdir()
    for target in ("in.dcm", "slice.dcm", "series/0.dcm"):
        shutil.copy(source, folder / target)
    (folder / "thick").mkdir()
    small("CT", folder / "thick")  # four slices, 5 mm apart
    keras.utils.set_random_seed(0)
    models.create("espcn", scale=2).save(folder / "espcn.keras")


def _write_images(folder, count, side):
    for i, pixels in enumerate(smooth_images(count, side, 3)):
        target = folder / f"patient{i // 2:02d}" / f"{i}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        images.write_image(target, pixels, 255)


def enter_inputs(folder, monkeypatch):
    """Makes the inputs of the examples in a folder, which becomes the current one and holds prepared data as well."""
    make_inputs(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder / "data"))
    return folder
