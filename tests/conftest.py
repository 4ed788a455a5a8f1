"""Fixtures and switches that all tests share."""

import os
import pathlib
import signal

import pytest
from synthetic import ArraySource, smooth_images

ROOT = pathlib.Path(__file__).resolve().parent.parent


def pytest_addoption(parser):
    parser.addoption("--run_large", action="store_true", help="also run the tests that train or build packages")


def pytest_configure():
    # A shell starts what runs in its background deaf to Ctrl-C, and so would be the programs that tests interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config, items):
    if config.getoption("--run_large"):
        return
    for item in items:
        if "large" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow; add --run_large"))


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """The folder of real medical images, or a skip."""
    folder = pathlib.Path(os.environ.get("TFMISR_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}; set TFMISR_SHARED_DATA")
    return folder


@pytest.fixture
def tiny_source(tmp_path):
    """Twelve training and four validation and test images of 64x64 pixels each."""
    images = {"train": smooth_images(12, 64, 0), "validation": smooth_images(4, 64, 1)}
    return ArraySource(tmp_path, {**images, "test": smooth_images(4, 64, 2)})
