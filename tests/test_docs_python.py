"""The examples of docs/python.md run as they stand there, with fewer steps, and print what stands behind them."""

import pathlib
import re

import pytest
from synthetic import smooth_images

from tfmisr.edge import images

PAGE = pathlib.Path(__file__).resolve().parent.parent / "docs" / "python.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
# A run of a few steps is as good a test as one of minutes; a process for each trial takes half a minute.
SHORTER = {
    "steps=2000": "steps=4",
    "steps_per_epoch=100, epochs=20": "steps_per_epoch=1, epochs=1",
    '"int8"]': '"int8"], calibration_images=4, images=1, rounds=1',
    "[0.0003, 0.001]": "[0.001]",
}


def run_page(blocks, folder, capsys):
    """Runs blocks one after the other and compares each line that tells what is printed; returns how many told it."""
    for i, pixels in enumerate(smooth_images(20, 64, 3)):
        target = folder / "scans" / f"patient{i // 2:02d}" / f"{i}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        images.write_image(target, pixels, 255)
    names, told = {}, 0
    for block in blocks:
        code = block
        for long, short in SHORTER.items():
            code = code.replace(long, short)
        exec(compile(code, str(PAGE), "exec"), names)
        printed = capsys.readouterr().out
        for expected in re.findall(r"print\(.*\)  # (.+)$", block, re.MULTILINE):
            told += 1
            assert expected in printed.splitlines(), printed
    return told


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    return tmp_path


def test_examples_run_and_print_what_stands_behind_them(folder, capsys):
    blocks = [block for block in BLOCKS if "tfmisr.tune(" not in block]
    assert len(blocks) == len(BLOCKS) - 1 and run_page(blocks, folder, capsys) == 5


@pytest.mark.large
def test_example_of_a_search_runs(folder, capsys):
    (search,) = (block for block in BLOCKS if "tfmisr.tune(" in block)
    assert run_page(["import tfmisr", search], folder, capsys) == 0
