"""Names of the previous release resolve to the new ones and warn."""

import importlib
import inspect
import pkgutil

import numpy as np
import pytest
from dicom_sources import WHEN, bicubic, ct, product

import tfmisr.edge
from tfmisr.edge import derived
from tfmisr.edge.deprecation import renamed_arguments


def _modules():
    names = [info.name for info in pkgutil.walk_packages(tfmisr.edge.__path__, "tfmisr.edge.")]
    return [name for name in names if hasattr(importlib.import_module(name), "__getattr__")]


@pytest.mark.parametrize("name", _modules())
def test_old_names_of_edge_are_attributes_that_exist(name):
    module = importlib.import_module(name)
    for old, new in inspect.getclosurevars(module.__getattr__).nonlocals["names"].items():
        home, _, attribute = new.rpartition(".")
        with pytest.warns(DeprecationWarning, match=f"{name}.{old} is now"):
            value = getattr(module, old)
        assert value is vars(importlib.import_module(home or name))[attribute]


@pytest.mark.parametrize(
    "old,new",
    [("derived.admission", "derived.eligibility"), ("derived.reading", "dicom_file"), ("quiet", "stderr_filter")],
)
def test_old_modules_of_edge_are_the_new_ones(old, new):
    with pytest.warns(DeprecationWarning, match=f"tfmisr.edge.{new}"):
        module = importlib.import_module(f"tfmisr.edge.{old}")
    assert module is importlib.import_module(f"tfmisr.edge.{new}")


def test_old_argument_gets_the_value_of_the_new_one():
    @renamed_arguments(begun="start")
    def function(start=None):
        return start

    with pytest.warns(DeprecationWarning, match="argument begun of function is now start"):
        assert function(begun=3) == 3
    assert function(start=4) == 4


def test_derive_and_its_report_know_their_old_words():
    with pytest.warns(DeprecationWarning, match="series_start"):
        ds, report = derived.derive_with_report(ct(), bicubic(), product(), WHEN, begun=WHEN)
    assert ds.SeriesTime == "030405.000600"
    with pytest.warns(DeprecationWarning, match="Report.consistency"):
        assert np.isfinite(report.fidelity.mean)
