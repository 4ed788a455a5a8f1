"""The bill of materials of the device install (issue 17): complete, without paths of the machine, licenses checked."""

import importlib
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def sbom():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        return importlib.import_module("sbom")
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


def component(name, version="1", **fields):
    return {"bom-ref": f"{name}=={version}", "name": name, "version": version, "type": "library", **fields}


@pytest.fixture
def made():
    """What cyclonedx-py writes of a local install, shortened."""
    components = [
        component("tfmisr", licenses=[{"license": {"id": "Apache-2.0"}}])
        | {"externalReferences": [{"type": "distribution", "url": "file:///home/me/tfmisr"}]},
        component("numpy", "2.4", licenses=[{"expression": "BSD-3-Clause AND MIT"}])
        | {"externalReferences": [{"type": "website", "url": "https://numpy.org"}]},
        component("protobuf"),
        component("pip", licenses=[{"license": {"id": "MIT"}}]),
    ]
    dependencies = [{"ref": "tfmisr==1", "dependsOn": ["numpy==2.4", "protobuf==1"]}, {"ref": "pip==1"}]
    return {"components": components, "dependencies": dependencies, "metadata": {"tools": {}}}


def test_bill_of_materials_has_the_packages_and_the_models(sbom, made):
    bom = sbom.completed(made, "0.2", {"fast-x2": "ab" * 32})
    main = bom["metadata"]["component"]
    assert (main["name"], main["type"], "externalReferences" in main) == ("tfmisr", "application", False)
    assert [c["name"] for c in bom["components"]] == ["numpy", "protobuf", "fast-x2"]
    assert bom["components"][2]["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    assert bom["components"][0]["externalReferences"] == [{"type": "website", "url": "https://numpy.org"}]
    assert bom["dependencies"] == made["dependencies"][:1]
    assert sbom.problems(bom) == []
    assert "| numpy | 2.4 | BSD-3-Clause AND MIT |" in sbom.table(bom)


@pytest.mark.parametrize(
    "licenses,expected",
    [
        ([{"license": {"id": "GPL-3.0-only"}}], "x: GPL-3.0-only"),
        ([{"expression": "MIT OR LGPL-2.1-or-later"}], "x: MIT OR LGPL-2.1-or-later"),
        ([{"license": {"name": "License :: OSI Approved :: GNU General Public License v3 (GPLv3)"}}], "x: License"),
        ([], "x: no license is stated"),
    ],
)
def test_copyleft_and_missing_licenses_are_reported(sbom, made, licenses, expected):
    made["components"].append(component("x", licenses=licenses))
    (line,) = sbom.problems(sbom.completed(made, "1", {}))
    assert line.startswith(expected)
