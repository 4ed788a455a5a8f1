"""The contract of every metric: a new module in `tfmisr/metrics/` is tested here without an edit."""

import csv
import importlib
import inspect
import json
import math
import subprocess
import sys

import numpy as np
import pytest

from tfmisr import data, evaluate, metrics
from tfmisr._lazy import modules_of
from tfmisr.evaluation import protocol, results, table
from tfmisr.metrics import _metric

MAX_VAL = 4095
# With weights: test_metrics_networks.py; with a half-width: test_metrics_half_width.py.
ON_IMAGES = [m.name for m in metrics.rows() if not (m.per_set or m.weights or m.half_width)]
PER_SET = [m.name for m in metrics.rows() if m.per_set]


def slices(side=176, noise=0):
    """Returns a CT-like image, values within all display windows and beyond them, and the same with noise, uint16."""
    y, x = np.mgrid[:side, :side]
    image = 1064 + 500 * np.sin(x / 9) * np.cos(y / 7) + 300 * ((x // 16 + y // 24) % 2)
    noisy = image + np.random.default_rng(0).normal(0, noise, image.shape)
    return tuple(np.rint(np.clip(a, 0, MAX_VAL)).astype(np.uint16)[..., None] for a in (image, noisy))


def feature_sets(shift):
    rng = np.random.default_rng(1)
    reference = rng.normal(0, 1, (60, 5))
    return reference, reference + shift * (1 + rng.random((60, 5)))


@pytest.mark.parametrize("name", ON_IMAGES)
def test_identical_images_have_the_ideal_value(name):
    metric, (image, _) = metrics.get(name), slices()
    value = metric(image, image, MAX_VAL)
    if metric.ideal is None:
        assert metric.no_reference and math.isfinite(value)
    else:
        assert value == metric.ideal or value == pytest.approx(metric.ideal, abs=1e-8)


@pytest.mark.parametrize("name", [name for name in ON_IMAGES if metrics.get(name).better])
def test_more_noise_is_worse(name):
    metric = metrics.get(name)
    little, much = (metric(*slices(noise=noise), MAX_VAL) for noise in (20, 200))
    best, worst = (little, much) if metric.better == "higher" else (much, little)
    assert best > worst
    assert metric.ideal >= little if metric.better == "higher" else metric.ideal <= little


@pytest.mark.parametrize("name", PER_SET)
def test_sets_that_differ_more_are_worse(name):
    metric = metrics.get(name)
    near, far = (np.ravel(metric.function(*feature_sets(shift)))[0] for shift in (0.1, 3))
    assert (near < far) == (metric.better == "lower") and near != far
    same = np.ravel(metric.function(*feature_sets(0)))[0]
    assert same == pytest.approx(metric.ideal, abs=1e-9) if metric.ideal is not None else same <= near


@pytest.mark.parametrize("name", ON_IMAGES)
def test_undefined_is_nan_with_a_reason_never_an_error(name):
    metric = metrics.get(name)
    (image, noisy), flat = slices(noise=50), np.full((176, 176, 1), 1064, np.uint16)
    pairs = [(image[:side, :side], noisy[:side, :side]) for side in (1, 2, 3, 7, 12)]
    values = [metric(*pair, MAX_VAL) for pair in [*pairs, (flat, flat), (flat, noisy), (image, flat)]]
    assert all(type(value) is float for value in values)
    assert -math.inf not in values
    if not all(map(math.isfinite, values)):
        assert metric.undefined != _metric.Metric.undefined


@pytest.mark.parametrize("module", modules_of(metrics.__path__))
def test_rows_read_from_the_text_are_those_of_the_module(module):
    found = importlib.import_module(f"tfmisr.metrics.{module}")
    rows = [value for value in vars(found).values() if isinstance(value, metrics.Metric)]
    assert rows, "a helper module in tfmisr/metrics/ has a leading underscore"
    for row in rows:
        read = metrics.get(row.name)
        assert read.function.value == row.function
        for field in set(_metric.Metric.__dataclass_fields__) - {"function"}:
            assert getattr(read, field) == getattr(row, field)


def test_names_and_definitions_are_unique():
    rows = metrics.rows()
    assert (
        len({m.name for m in rows}) == len({m.definition for m in rows}) == len({m.column for m in rows}) == len(rows)
    )


# Hashes of the release before metrics declared themselves: with others, no earlier result could be compared.
RECORDED = {
    "psnr": "872920eaea26",
    "psnr ssim ms_ssim haarpsi haarpsi_med": "872920eaea26",
    "psnr gmsd vif": "0354457ab934",
    "psnr noise laplacian sharpness": "2a95b6659c49",
    "psnr ssim_brain psnr_lung": "acad7277c9b8",
    "psnr lpips_vgg lpips_alex": "0c2ef9519c19",
    "psnr kid fid": "48791160c6e6",
    "psnr ssim ms_ssim haarpsi haarpsi_med vif gmsd sharpness laplacian noise psnr_lung ssim_lung psnr_soft_tissue "
    "ssim_soft_tissue psnr_bone ssim_bone psnr_brain ssim_brain lpips_alex lpips_vgg fid kid": "058a33a41159",
}


@pytest.mark.parametrize("names", RECORDED)
def test_hash_of_the_protocol_is_that_of_earlier_releases(names):
    description = "X" if {"fid", "kid"} & set(names.split()) else ""
    fields = ("chest_phantom", "test", 4, "0123456789abcdef", 2, "Bicubic(scale=2) rounded", 2)
    found = protocol.Protocol(*fields, measures=protocol.definitions(names.split(), description))
    assert found.hash == RECORDED[names]


ADDED = '''"""Mean absolute error, as anybody would add it."""
import numpy as np
from scipy import ndimage
from tfmisr.metrics._metric import Metric
def mean_error(y_true, y_pred, max_val):
    return float(np.mean(np.abs(y_true.astype(float) - y_pred))) + 0 * ndimage.sum(0)
METRIC = Metric("added_error", mean_error, "added, values as they are", "added", ".3f", "lower", ideal=0.0, order=2000)
'''


@pytest.fixture
def added(tmp_path, monkeypatch):
    """A metric in one new file, of a folder that is taken for part of `tfmisr/metrics/`."""
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "added_by_a_test.py").write_text(ADDED)
    monkeypatch.setattr(metrics, "__path__", [*metrics.__path__, str(tmp_path / "metrics")])
    _metric.rows.cache_clear()
    yield
    _metric.rows.cache_clear()
    sys.modules.pop("tfmisr.metrics.added_by_a_test", None)


def test_one_file_adds_a_metric_everywhere(added, tiny_source, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "load_for", lambda *args: tiny_source)
    before = protocol.definitions(["psnr"])
    assert metrics.names()[-1] == "added_error" and "added_error" in evaluate._parser().format_help()
    assert "tfmisr.metrics.added_by_a_test" not in sys.modules
    found = evaluate.run(
        evaluate._parser().parse_args(
            ["nearest", "--measures", "psnr,added_error", "--scale", "2", "--output", str(tmp_path / "out")]
        )
    )
    nearest, bicubic = (found.summary[name] for name in ("nearest", "bicubic"))
    assert {f"added_error{end}" for end in ("", "_low", "_high", "_gain", "_gain_low")} <= nearest.keys()
    assert nearest["added_error"] > bicubic["added_error"] > 0
    with open(tmp_path / "out" / "per_image.csv", newline="") as file:
        assert all(float(row["added_error"]) > 0 for row in csv.DictReader(file))
    text = (tmp_path / "out" / "table.md").read_text()
    assert "| added (less is better) |" in text and f"**{bicubic['added_error']:.3f}**" in text
    assert protocol.definitions(["psnr"]) == before
    assert found.metrics["protocol"]["measures"] == f"{before}; added, values as they are"


def test_results_of_the_previous_release_are_read(tmp_path):
    old = {
        "protocol": {"centre_fraction": 0.625, "hash": "ab"},
        "notes": [],
        "models": {"net": {"psnr": 30.0, "psnr_centre": 31.0, "psnr_centre_gain_low": 1.0, "ssim_centre": 0.5}},
    }
    (tmp_path / "metrics.json").write_text(json.dumps(old))
    read = results.read(tmp_path)
    assert read["models"] == {
        "net": {"psnr": 30.0, "psnr_center": 31.0, "psnr_center_gain_low": 1.0, "ssim_center": 0.5}
    }
    assert read["protocol"] == {"center_fraction": 0.625, "hash": "ab"}
    protocol.require_same({"center_fraction": 0.625}, old["protocol"] | {"hash": "cd"}, "x")
    for content in (old, read):
        assert "| PSNR center [dB] |" in table.markdown_table(content) and "31.00" in table.console_table(content)
        assert "center: the middle 62.5% of each side" in table.markdown_table(content)


def test_help_imports_neither_scipy_nor_keras():
    script = (
        "import sys\nfrom tfmisr import evaluate, metrics\nevaluate._parser().format_help()\nmetrics.get('lpips_vgg')\n"
        "assert not {'tensorflow', 'keras', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    "module,name,expected",
    [
        ("metrics", "centre", metrics.central_crop),
        ("metrics", "METRICS", ["psnr", "ssim", "ms_ssim", "haarpsi", "haarpsi_med", "vif", "gmsd", "sharpness",
                                "laplacian", "noise"]),
        ("metrics", "UNDEFINED", None),
        ("evaluation.scoring", "MEASURES", ("psnr", "ssim", "ms_ssim", "haarpsi", "haarpsi_med")),
        ("evaluation.scoring", "CENTRE", ("psnr", "ssim")),
        ("evaluation.scoring", "OF_SETS", ("fid", "kid")),
        ("evaluation.scoring", "LEARNED", ("lpips_alex", "lpips_vgg")),
        ("evaluation.scoring", "ALONE", ("laplacian", "noise")),
        ("evaluation.scoring", "WINDOWED", tuple(f"{m}_{w}" for w in ("lung", "soft_tissue", "bone", "brain")
                                                 for m in ("psnr", "ssim"))),
        ("evaluation.scoring", "FURTHER", None),
        ("evaluation.scoring", "write", results.write),
        ("losses", "NAMES", ("mse", "mae", "charbonnier", "ssim", "ms_ssim", "gradient", "frequency",
                             "total_variation", "perceptual")),
    ],
)  # fmt: skip
def test_names_of_the_previous_release_work_and_warn(module, name, expected):
    with pytest.warns(DeprecationWarning, match=name):
        found = getattr(importlib.import_module(f"tfmisr.{module}"), name)
    if isinstance(expected, (list, tuple)):  # what was added since comes after these
        assert list(found)[: len(expected)] == list(expected)
    elif expected is not None:
        assert found is expected


def test_second_metric_of_a_name_is_refused(added, tmp_path):
    (tmp_path / "metrics" / "another.py").write_text('METRIC = Metric("psnr", f, "", "")\n')
    _metric.rows.cache_clear()
    with pytest.raises(ValueError, match="found two named psnr"):
        metrics.names()


@pytest.mark.parametrize("name", ["psnr_center", "mae_hr", "two words"])
def test_name_that_results_need_themselves_is_refused(name):
    with pytest.raises(ValueError, match="expected a name"):
        metrics.Metric(name, inspect, "", "")
