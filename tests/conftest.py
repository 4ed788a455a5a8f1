"""Fixtures and switches that all tests share, and how many processes run them."""

import os
import pathlib
import signal
import sys
import tempfile

import pytest
from shared import once, prepare_phantoms
from synthetic import ArraySource, smooth_images

ROOT = pathlib.Path(__file__).resolve().parent.parent


def pytest_addoption(parser):
    parser.addoption("--run_large", action="store_true", help="also run the tests that train or build packages")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config) -> int:
    """Returns how many processes `-n auto` of pyproject.toml means: one a core, at most four (2 GB each).

    Returns:
        0, so none but pytest's own, where files are named, and where somebody looks on (`-s`, `--trace`; `--pdb` is
        seen by pytest-xdist itself).
    """
    named = any(".py" in argument for argument in config.getoption("file_or_dir"))
    if named or config.getoption("capture") == "no" or config.getoption("trace"):
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 4) if cores > 1 else 0


def pytest_configure(config):
    # A shell starts what runs in its background deaf to Ctrl-C, and so would be the programs that tests interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _leave_home_alone(config)


def _leave_home_alone(config):
    """Gives each test process, and what it starts, empty places for what is kept in the home folder otherwise."""
    own = tempfile.TemporaryDirectory(prefix="tfmisr-tests-")
    config.add_cleanup(own.cleanup)
    os.environ["KERAS_HOME"] = own.name  # keras.json chooses a backend, a precision and an order of axes
    os.environ["TFDS_DATA_DIR"] = os.path.join(own.name, "tensorflow_datasets")
    os.environ["SE_AVOID_STATS"] = "true"  # Selenium Manager sends statistics otherwise


def pytest_collection_modifyitems(config, items):
    if config.getoption("--run_large"):
        return
    for item in items:
        if "large" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow; add --run_large"))


@pytest.fixture(autouse=True)
def pynetdicom_as_it_comes():
    """Undoes what a gateway in this process changes in pynetdicom for all of it; see `tfmisr.gateway.incoming`."""
    yield
    if (config := sys.modules.get("pynetdicom._config")) and config.STORE_RECV_CHUNKED_DATASET:
        config.STORE_RECV_CHUNKED_DATASET = config.STORE_SEND_CHUNKED_DATASET = False
        sys.modules["pynetdicom.dimse_messages"].NamedTemporaryFile = tempfile.NamedTemporaryFile


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """The folder of real medical images, or a skip."""
    folder = pathlib.Path(os.environ.get("TFMISR_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}; set TFMISR_SHARED_DATA")
    return folder


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory) -> str:
    """The `--data_dir` that holds the built-in dataset."""
    return str(once(tmp_path_factory, "phantoms", prepare_phantoms))


@pytest.fixture
def tiny_source(tmp_path):
    """Twelve training and four validation and test images of 64x64 pixels each."""
    images = {"train": smooth_images(12, 64, 0), "validation": smooth_images(4, 64, 1)}
    return ArraySource(tmp_path, {**images, "test": smooth_images(4, 64, 2)})
