"""The Python examples of all pages run as they stand there, with fewer steps, and print what stands behind them."""

import re

import documents
import pytest

PAGES = [page for page in documents.PAGES if documents.blocks(page, "python")]
# A run of a few steps is as good a test as one of minutes.
SHORTER = {
    "steps=2000": "steps=4",
    "steps_per_epoch=100, epochs=20": "steps_per_epoch=1, epochs=1",
    '"int8"]': '"int8"], calibration_images=4, images=1, rounds=1',
    "[0.0003, 0.001]": "[0.001]",
    "range(160)": "range(2)",
    '"runs/cnn5", "runs/cnn5-ssim"': '"fast-x4", "balanced-x4"',
}


def is_slow(block):
    return "tfmisr.tune(" in block  # a process for each trial


def run_blocks(page, blocks, capsys):
    """Runs blocks one after the other and compares each line with the output noted behind a print."""
    names = {}
    for block in blocks:
        code = block
        for long, short in SHORTER.items():
            code = code.replace(long, short)
        exec(compile(code, documents.name(page), "exec"), names)
        printed = capsys.readouterr().out
        for expected in re.findall(r"print\(.*\)  # (.+)$", block, re.MULTILINE):
            assert expected in printed.splitlines(), printed


@pytest.fixture
def folder(tmp_path, monkeypatch):
    return documents.enter_inputs(tmp_path, monkeypatch)


@pytest.mark.parametrize("page", PAGES, ids=documents.name)
def test_examples_run_and_print_what_stands_behind_them(page, folder, capsys):
    run_blocks(page, [block for block in documents.blocks(page, "python") if not is_slow(block)], capsys)


@pytest.mark.large
def test_example_of_a_search_runs(folder, capsys):
    page = documents.ROOT / "docs" / "python.md"
    (search,) = filter(is_slow, documents.blocks(page, "python"))
    run_blocks(page, ["import tfmisr", search], capsys)


def test_all_slow_examples_are_known():
    assert sum(is_slow(block) for page in PAGES for block in documents.blocks(page, "python")) == 1
