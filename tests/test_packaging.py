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


def requirements(extra: str) -> dict[str, str]:
    """Returns name to requirement of an extra, with those of the extras of tfmisr that it names."""
    from packaging.requirements import Requirement

    try:
        import tomllib
    except ModuleNotFoundError:
        import tomli as tomllib
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    found = {}
    for requirement in map(Requirement, extras[extra]):
        if requirement.name == "tfmisr":
            for other in requirement.extras:
                found |= requirements(other)
        else:
            found[requirement.name] = requirement
    return found


def test_train_takes_the_newest_tensorflow_without_tensorflow_io():
    """S-25: on every Python; tensorflow-io and the pins that it needs are in [tfio]."""
    train, tfio = requirements("train"), requirements("tfio")
    assert "tensorflow-io" not in train and not train["tensorflow"].marker
    assert train["tensorflow"].specifier.contains("2.99") and not tfio["tensorflow"].specifier.contains("2.18")
    assert tfio["tensorflow-io"].specifier.contains("0.37.1")


def test_gpu_is_train_with_cuda():
    """S-25."""
    gpu = requirements("gpu")
    assert set(gpu) == set(requirements("train"))
    assert gpu["tensorflow"].extras == {"and-cuda"}


@pytest.mark.parametrize("extra", ["jax", "jax-cuda"])
def test_jax_trains_without_tensorflow(extra):
    """S-25: Keras as in [train]; neither TensorFlow nor TensorFlow Datasets, which a run from a pixel cache lacks."""
    found = requirements(extra)
    assert set(found) == {"jax", "keras", "scipy", "matplotlib"}
    assert found["keras"].specifier == requirements("train")["keras"].specifier
    assert found["jax"].extras == ({"cuda12"} if extra == "jax-cuda" else set())


def test_readme_and_training_page_name_the_extras_for_gpus():
    """S-25: README says which to take."""
    readme, page = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/training.md"))
    for extra in ("gpu", "jax", "jax-cuda"):
        assert f"`[{extra}]`" in readme and f"`[{extra}]`" in page
