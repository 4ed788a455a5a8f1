"""The wheel holds what setup.cfg promises, and setup.cfg promises all there is."""

import configparser
import pathlib
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


def listed() -> list[str]:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser["options"]["packages"].split()


def present() -> list[str]:
    found = [p.parent for p in (ROOT / "tfmisr").rglob("__init__.py")]
    names = [".".join(p.relative_to(ROOT).parts) for p in found]
    folders = [p.parent.name for p in (ROOT / "datasets").glob("*/__init__.py")]
    return [*names, "tfmisr.export", "tfmisr.datasets", *(f"tfmisr.datasets.{name}" for name in folders)]


def test_setup_cfg_lists_every_package():
    assert sorted(listed()) == sorted(present())


def test_datasets_has_no_init_file():
    assert not (ROOT / "datasets" / "__init__.py").exists()  # an installed `datasets` must win its import


def test_every_dataset_tells_where_it_comes_from():
    for folder in (p.parent for p in (ROOT / "datasets").glob("*/__init__.py")):
        for name in ("README.md", "CITATIONS.bib", "TAGS.txt", f"{folder.name}_dataset_builder.py"):
            assert (folder / name).is_file(), folder / name


def test_datasets_are_importable_from_a_checkout():
    import tfmisr.datasets

    assert pathlib.Path(next(iter(tfmisr.datasets.__path__))) == ROOT / "datasets"


@pytest.mark.large
def test_wheel_holds_every_module(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True)
    names = set(zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist())
    for path in (p for p in (ROOT / "tfmisr").rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        assert str(path.relative_to(ROOT)) in names, path
    for folder in ("datasets", "export"):
        for path in (ROOT / folder).rglob("*.py"):
            assert f"tfmisr/{path.relative_to(ROOT)}" in names
    assert "tfmisr/datasets/chest_phantom/README.md" in names
    assert not [name for name in names if name.startswith(("datasets/", "export/", "tests/", "benchmarks/"))]
