"""What was typed and written with the previous release goes on working: names, flags, files.

`tests/previous_release/make.py` says how its files were made, by that release's own code, and holds the flags that it
was given. `interface.py` beside it has taken the names down.
"""

import importlib.util
import inspect
import json
import math
import pathlib
import shutil
import subprocess
import sys
import tarfile

import keras
import numpy as np
import pytest
from PIL import Image
from training_runs import needs_muon

from tfmisr import config, evaluate, fit, models, tune, upscale, upscalers
from tfmisr.edge import card
from tfmisr.edge.errors import InputError
from tfmisr.study import __main__ as study
from tfmisr.tuning import space, study_report

PREVIOUS = pathlib.Path(__file__).resolve().parent / "previous_release"
_spec = importlib.util.spec_from_file_location("make_previous_release", PREVIOUS / "make.py")
make = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make)


# Keras reads no file of a newer Keras: Conv2D's initializers have fields that 3.12, the last for Python 3.10, lacks.
needs_new_keras = pytest.mark.skipif(
    "input_axes" not in inspect.signature(keras.initializers.HeNormal).parameters, reason="written by a newer Keras"
)


# Constants and helpers of one module that nothing else used; and a command that is renamed before its flags are parsed,
# see tests/test_reader_study_aliases.py.
REMOVED = {
    "tfmisr.datasets.chest_xray14.chest_xray14_dataset_builder.Examples is gone",
    "tfmisr.edge.tiff_strips.PICTURES is gone",
    "tfmisr.export.convert.quantization_step is gone",
    "tfmisr.metrics.lpips.files is gone",
    "tfmisr.metrics.sets.FEW is gone",
    "tfmisr.study.__main__ analyse is no command",
}


def test_names_flags_and_values_are_accepted():
    # A process of its own: whatever an old module does when it is imported, it does to nobody else.
    command = [sys.executable, PREVIOUS / "interface.py", "check", PREVIOUS / "names.json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split("\n")) - {""} == REMOVED, done.stdout


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    """The folder of the files, as the working directory: paths in them count from there."""
    safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(PREVIOUS / "files.tar.xz") as archive:
        archive.extractall(tmp_path, **safe)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def arrays(path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {key: file[key] for key in file.files}


def levels_equal(a, b):
    """Asserts that images of 16 bits are the same but for the rounding of another processor."""
    differ = np.abs(a.astype(int) - b.astype(int))
    assert a.shape == b.shape and differ.max() <= 1 and (differ > 0).mean() < 0.01


def same(a, b, where="") -> None:
    """Asserts that two JSON contents have the same numbers under the same keys, in American spelling or not."""
    if isinstance(a, dict):
        a, b = ({key.replace("centre", "center"): v for key, v in x.items()} for x in (a, b))
        assert set(a) <= set(b), where
        for key in a:
            same(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list):
        assert len(a) == len(b), where
        for i, pair in enumerate(zip(a, b, strict=True)):
            same(*pair, f"{where}/{i}")
    elif isinstance(a, float):
        assert math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-6), (where, a, b)
    elif isinstance(a, (int, bool, type(None))):
        assert a == b, where


@pytest.mark.parametrize(
    "name",
    [
        "cnn",
        pytest.param("aware", marks=needs_new_keras),
        *(pytest.param(name, marks=pytest.mark.large) for name in ("gan", "cycle")),
    ],
)
def test_run_is_resumed(monkeypatch, name):
    for function, defaults in make.small_networks():
        monkeypatch.setattr(function, "__defaults__", defaults)
    folder = pathlib.Path("runs", name)
    if (folder / "model.keras").is_file():
        (folder / "model.keras").unlink()
        shutil.rmtree(folder / "evaluation")
    prepared = sorted(pathlib.Path("prepared").rglob("*.tfrecord*"))
    before = (folder / "history.csv").read_text().splitlines()
    fit.main([*make.COMMON, *make.SMALL, *make.RUNS[name], "--workdir", str(folder)])
    expected = arrays(folder / "final.npz")
    for found, (_, weight) in zip(models.load(folder).get_weights(), sorted(expected.items()), strict=True):
        np.testing.assert_allclose(found, weight, rtol=0, atol=1e-6)
    assert (folder / "history.csv").read_text().splitlines()[0] == before[0]
    assert sorted(pathlib.Path("prepared").rglob("*.tfrecord*")) == prepared


def test_runs_and_recipes_keep_their_folders():
    for name, folder in json.loads(pathlib.Path("runs/folders.json").read_text()).items():
        fields = {**config.read(f"runs/{name}/config.json"), "workdir": None}
        assert config.from_dict(fields, name).folder.name == folder
    best = config.from_dict(config.read("sweep/best.json"), "best.json")
    assert best.model == "plain/num_filters=4,num_layers=1"


@needs_new_keras
def test_networks_give_the_same_numbers():
    expected = arrays("networks/outputs.npz")
    for name in ("cnn5", "plain", "imdn", "san", "sesr", "parts"):
        found = keras.saving.load_model(f"networks/{name}.keras")
        np.testing.assert_allclose(found(expected["x"], training=False), expected[name], rtol=0, atol=1e-6)
    registered = keras.saving.get_custom_objects()
    import tfmisr.losses
    import tfmisr.training.optimizers  # noqa: F401

    assert set(json.loads(pathlib.Path("networks/registered.json").read_text())) <= set(registered)


@needs_new_keras
@pytest.mark.parametrize("name", ["losses", pytest.param("muon", marks=needs_muon)])
def test_compiled_networks_give_the_same_numbers(name):
    import tfmisr.losses
    import tfmisr.training.optimizers  # noqa: F401

    expected = arrays("networks/outputs.npz")
    found = keras.saving.load_model(f"networks/{name}.keras")
    image = found(expected["x"], training=False)
    np.testing.assert_allclose(image, expected[name], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.loss(expected["y"], image), expected[f"{name}_loss"], rtol=1e-5)
    assert int(found.optimizer.iterations) == 1


def test_tflite_files_give_the_same_levels():
    from tfmisr.training import tflite_weights

    expected = arrays("exports/outputs.npz")
    for flavour in make.FORMATS:
        path = pathlib.Path("exports", f"plain_{flavour}.tflite")
        levels_equal(upscalers.load(str(path))(expected["x"], 2, 65535), expected[path.stem])
        assert card.read(path)["weights_sha256"] in card.beside(path).read_text()
    for name in ("plain_float32", "plain_int8"):
        for i, found in enumerate(tflite_weights.network(pathlib.Path("exports", f"{name}.tflite")).get_weights()):
            np.testing.assert_allclose(found, expected[f"{name}/{i}"], rtol=0, atol=1e-6)


@needs_new_keras
def test_classical_methods_give_the_same_images():
    expected = arrays("classical/outputs.npz")
    for path in sorted(pathlib.Path("classical").glob("[!o]*.npz")) + [pathlib.Path("classical/optimal_linear.keras")]:
        found = upscalers.load(str(path))(expected["x"], 2, 65535)
        difference = np.abs(found.astype(int) - expected[path.stem].astype(int))
        assert difference.max() <= 3 and difference.mean() < 0.05, path


def test_evaluation_is_merged():
    flags = (*make.COMMON, *make.FEW, "--merge", "evaluations/first")
    evaluate.main(["nearest", "--scale", "2", "--output", "new", *flags])
    expected, found = (json.loads(pathlib.Path(p, "metrics.json").read_text()) for p in ("evaluations/second", "new"))
    same(expected["models"], found["models"])
    assert found["protocol"]["hash"] == expected["protocol"]["hash"]
    # The numbers that were merged are in the table too, those of the central crop included.
    row = next(line for line in pathlib.Path("new/table.md").read_text().splitlines() if "cnn" in line.split("|")[1])
    for key in ("psnr", "ssim", "psnr_centre"):
        value = expected["models"]["cnn"][key]
        assert f"{value:.2f}" in row or f"{value:.4f}" in row, (key, row)


def test_upscaling_goes_on_with_the_scale_of_the_series():
    kept = np.asarray(Image.open("upscaled/patient02.png"))
    pathlib.Path("upscaled/patient02.png").unlink()
    for name in ("patient00.png", "patient01.png"):  # whose pixels the scale came from; only the record knows it now
        pathlib.Path("series", name).unlink()
    upscale.main(["--model", "exports/plain_int8.tflite", "series", "--output", "upscaled"])
    levels_equal(np.asarray(Image.open("upscaled/patient02.png")), kept)


def test_space_file_is_read():
    found = space.Declared(space.read("space.toml"), config.Config(model="plain", steps=10), "space.toml").parameters
    assert [parameter.name for parameter in found] == ["num_filters", "learning_rate", "loss", "warmup_steps"]


def test_table_of_a_sweep_is_reported():
    old = pathlib.Path("sweep/report.md").read_text()
    study_report.main(["sweep/study.csv"])
    new = pathlib.Path("sweep/report.md").read_text()
    for score in ("29.8193", "29.8210"):
        assert old.count(score) == new.count(score) > 0
    assert "29.8285" in study_report.against_bicubic("sweep/study.csv", "val_psnr", "max")


@pytest.mark.large
def test_sweep_goes_on():
    before = {path: path.read_bytes() for path in pathlib.Path("sweep/trials").rglob("result.json")}
    best = json.loads(pathlib.Path("sweep/best.json").read_text())
    tune.main([*make.COMMON, *make.SMALL, *make.TUNE, "--workdir", "sweep"])
    assert {path: path.read_bytes() for path in pathlib.Path("sweep/trials").rglob("result.json")} == before
    same(best, json.loads(pathlib.Path("sweep/best.json").read_text()))


def test_study_is_as_it_was_written():
    assert study.main(["verify", "study"]) == 0
    assert study.main(["verify", "begun"]) == 0
    study.main(["export", "study", "--output", "again"])
    for name in ("ratings.csv", "preferences.csv"):
        header, *rows = pathlib.Path("study-export", name).read_text().splitlines()
        # Two columns were added at the end; answers of the previous release have no values in them.
        expected = [f"{header},zoom,interpolation", *(f"{row},," for row in rows)]
        assert pathlib.Path("again", name).read_text().splitlines() == expected


def without_intervals(results) -> None:
    """Removes the ends of all intervals from a JSON content."""
    for each in results.values() if isinstance(results, dict) else results if isinstance(results, list) else ():
        without_intervals(each)
    if isinstance(results, dict):
        for end in ("low", "high"):
            results.pop(end, None)


@pytest.mark.parametrize("folder", ["study-export", "study"])
def test_study_has_the_same_results(folder):
    study.main(["analyse", folder, "--output", "report"])
    expected, found = (json.loads(pathlib.Path(p, "results.json").read_text()) for p in ("study-report", "report"))
    for results in (expected, found):  # intervals of agreement were too narrow; the values are the same
        for question in results["questions"].values():
            without_intervals(question["agreement"])
    if folder == "study":  # an export more is in the log
        for results in (expected, found):
            results["study"].pop("audit_rows", None)
    same(expected, found)


def test_begun_study_is_read_to_its_end():
    make.answer("begun", None, start=3)
    assert study.main(["verify", "begun"]) == 0


def test_study_file_gives_the_same_pixels():
    path = pathlib.Path("STUDY.toml")
    # The pane lr beside an arm that looks exactly like it is the one thing that is refused now.
    with pytest.raises(InputError, match="arm armadillo looks exactly like the pane lr"):
        study.main(["build", "STUDY.toml", "--output", "built"])
    path.write_text(path.read_text().replace('panes = ["lr", "rated", "truth"]', 'panes = ["rated", "truth"]'))
    study.main(["build", "STUDY.toml", "--output", "built"])
    expected, found = ({p.name for p in pathlib.Path(folder, "pixels").iterdir()} for folder in ("study", "built"))
    assert found == expected


def test_results_of_a_pilot_are_read():
    few = ("--studies", "10", "--readers", "3", "--cases", "4")
    study.main(["simulate", "size", "--output", "size", "--pilot", "study-report/results.json", *few])
