"""The Python API: instant to import, the same names and numbers as the commands, errors instead of exits."""

import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import types

import numpy as np
import pytest
from PIL import Image
from shared import once
from synthetic import smooth_images

import tfmisr
from tfmisr import config, degradations, evaluate, fit, observe, options, tune, upscale, volume
from tfmisr.edge import arrays, images
from tfmisr.edge.errors import InputError
from tfmisr.inference import upscalers

ROOT = pathlib.Path(__file__).resolve().parent.parent
API = {
    *("load", "fit", "evaluate", "observe", "tune", "volume", "export"),
    *("models", "losses", "metrics", "degradations", "data", "InputError"),
}
TINY = {"model": "plain/num_filters=4,num_layers=3", "scale": 2, "patch_size": 8, "batch_size": 4, "steps": 4}
TINY |= {"save_every": 2, "validate_every": 4}


def python(script, *arguments, env=None) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=env)


def make_run(folder: pathlib.Path) -> None:
    """Writes 20 images of 10 patients and trains on them for four steps, all from Python."""
    for i, pixels in enumerate(smooth_images(20, 64, 3)):
        target = folder / "scans" / f"patient{i // 2:02d}" / f"{i}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        images.write_image(target, pixels, 255)
    done = tfmisr.fit(dataset=folder / "scans", data_dir=folder / "data", workdir=folder / "run", **TINY)
    (folder / "fit.json").write_text(json.dumps({"table": done.table(), "text": str(done), "verdict": done.verdict}))
    (folder / "fit.html").write_text(done._repr_html_())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a tiny run (`run`), its images (`scans`), and what `tfmisr.fit` returned."""
    return once(tmp_path_factory, "api", make_run)


def test_import_is_light_and_dir_lists_the_api():
    script = (
        "import sys; before = set(sys.modules); import tfmisr\n"
        "assert set(dir(tfmisr)) >= set(sys.argv[1].split()), dir(tfmisr)\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "assert new <= {'tfmisr', *sys.stdlib_module_names}, new\n"
        "ours = {name for name in sys.modules if name.startswith('tfmisr.')}\n"
        "assert ours <= {'tfmisr._moved', 'tfmisr.datasets', 'tfmisr.export'}, ours\n"
        "tfmisr.degradations, tfmisr.models, tfmisr.load, tfmisr.fit, tfmisr.evaluate, tfmisr.tune, tfmisr.export\n"
        "tfmisr.observe\n"
        "assert not {'tensorflow', 'keras', 'scipy', 'matplotlib'} & set(sys.modules)"
    )
    done = python(script, " ".join(API))
    assert done.returncode == 0, done.stderr
    assert set(tfmisr.__all__) == API
    with pytest.raises(AttributeError, match="no attribute 'fti'"):
        tfmisr.fti  # noqa: B018


def test_command_modules_are_callable():
    import inspect

    assert tfmisr.fit is fit and tfmisr.evaluate is evaluate and tfmisr.observe is observe and tfmisr.tune is tune
    assert tfmisr.volume is volume
    assert callable(fit) and callable(fit.main) and tfmisr.export.__path__
    assert list(inspect.signature(tfmisr.export).parameters) == ["workdir", "output", "flags"]


def test_defaults_are_those_of_the_commands():
    for command in (evaluate, observe, tune, upscale):
        required = {"models": ["bicubic"]} if command in (evaluate, observe) else {}
        required |= {"inputs": ["a"], "model": "bicubic", "output": "b"} if command is upscale else {}
        flags = ["a", "--model", "bicubic", "--output", "b"] if command is upscale else required.get("models", [])
        assert options.parsed(command._parser(), required) == command._parser().parse_args(flags)
    given = options.parsed(volume._parser(), {"inputs": "a", "output": pathlib.Path("b")})
    assert given == volume._parser().parse_args(["a", "--output", "b"])
    assert config.parse(options.parsed(fit._parser(), {})) == config.Config()
    given = {"steps": 5, "epochs": None, "learning_rate": 1, "jit_compile": False, "manual_dir": pathlib.Path("a")}
    expected = config.Config(steps=5, learning_rate=1.0, manual_dir=("a",))
    found = config.parse(options.parsed(fit._parser(), given))
    assert found == expected and found.key == expected.key and isinstance(found.learning_rate, float)


@pytest.mark.parametrize(
    "call,message",
    [
        (lambda: tfmisr.fit(stpes=5), "fit has no option stpes; did you mean steps?"),
        (lambda: tfmisr.fit(steps="5"), "steps must be a whole number. Received: '5'"),
        (lambda: tfmisr.fit(steps=True), "steps must be a whole number. Received: True"),
        (lambda: tfmisr.fit(deterministic=1), "deterministic must be true or false. Received: 1"),
        (lambda: tfmisr.fit(seed=None), "seed must be a whole number. Received: None"),
        (lambda: tfmisr.fit(preset="fats_x2"), "did you mean fast_x2?"),
        (lambda: tfmisr.fit(preset="fast_x2", config="a.json"), "fit takes preset or config, not both"),
        (lambda: tfmisr.evaluate("bicubic", split="tset"), "split must be one of train, validation, test, all"),
        (lambda: tfmisr.evaluate("bicubic", messures=["psnr"]), "evaluate has no option messures; did you mean measu"),
        (lambda: tfmisr.observe("bicubic", taks="dot"), "observe has no option taks; did you mean task?"),
        (lambda: tfmisr.evaluate([]), "models must be a list of one or more. Received: []"),
        (lambda: tfmisr.evaluate("bicubik"), "did you mean bicubic?"),
        (
            lambda: tfmisr.tune(tuner="gird"),
            "tuner must be one of random, grid, bayesian, hyperband. Received: gird; did",
        ),
        (lambda: tfmisr.tune(max_trails=3), "tune has no option max_trails; did you mean max_trials?"),
        (lambda: tfmisr.export("best-x4", "x"), "a .tflite file already"),
        (lambda: tfmisr.export("run", "x", formats="int9"), "formats must be one of float32"),
        (lambda: tfmisr.load("perceptual-x5"), "did you mean perceptual-x4?"),
        (lambda: tfmisr.load("best-x4", scale=2), "upscales by 4. Received: scale=2"),
        (lambda: tfmisr.load("bicubic", scale=5), "scale must be 2, 3, 4 or 8. Received: 5"),
        (lambda: tfmisr.load("bicubic", tile=4), "tile must be at least 16. Received: 4"),
        (lambda: tfmisr.load("bicubic", color="lumma"), "color must be one of refuse, luma. Received: lumma; did you"),
        (lambda: tfmisr.data.pairs(patch_size=0), "patch_size must be a whole number, 1 or more. Received: 0"),
        (lambda: tfmisr.data.pairs(scale=2, degradation=degradations.make(4)), "the degradation reduces 4 times"),
    ],
)
def test_user_errors_raise_and_never_exit(call, message):
    with pytest.raises(tfmisr.InputError, match=re.escape(message)):
        call()


def test_missing_package_names_the_extra(tmp_path):
    script = (
        "import sys; sys.modules['keras'] = None; sys.modules['tensorflow_datasets'] = None; import tfmisr\n"
        "for call in (lambda: tfmisr.losses.get('mse'), lambda: tfmisr.fit(), lambda: tfmisr.evaluate('bicubic')):\n"
        "    try: call()\n"
        "    except ModuleNotFoundError as error: assert \"pip install 'tfmisr[train]'\" in str(error), error\n"
        "    else: raise AssertionError"
    )
    # Without the user's decoded images, which can do without either package.
    done = python(script, env=os.environ | {"HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["bicubic", "fast-x2"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2", "float16", "float32", "float64"])
@pytest.mark.parametrize("axes", ["hw", "hw1"])
def test_same_type_and_axes_come_back(name, dtype, axes):
    lr = (np.linspace(0, 1, 24 * 20).reshape(24, 20) * {"u": 255, "f": 1}[np.dtype(dtype).kind]).astype(dtype)
    lr = lr if axes == "hw" else lr[..., None]
    sr = tfmisr.load(name, scale=2)(lr)
    assert sr.dtype == np.dtype(dtype) and sr.shape == (48, 40, *lr.shape[2:])
    assert sr.max() <= (255 if sr.dtype.kind == "u" else 1)
    np.testing.assert_allclose(sr[::2, ::2], lr, atol=8 if sr.dtype.kind == "u" else 0.03)


def test_bicubic_is_that_of_pillow():
    lr = smooth_images(1, 24, 0)[0][..., 0].astype(np.float32) / 255
    expected = np.asarray(Image.fromarray(lr).resize((72, 72), Image.Resampling.BICUBIC))
    bicubic = tfmisr.load("bicubic", scale=3)
    np.testing.assert_allclose(bicubic(lr), expected.clip(0, 1), atol=1e-6)
    np.testing.assert_array_equal(bicubic(np.rint(lr * 4095).astype(np.uint16)) > 4095, False)
    color = np.stack([lr, lr / 2, lr / 3], -1)
    np.testing.assert_allclose(bicubic(color)[..., 1], bicubic(lr / 2), atol=1e-6)
    assert repr(bicubic) == "<upscaler bicubic: scale 3, channels any, 0 parameters>"


def test_default_full_scale_is_the_smallest_that_holds_the_values():
    step = np.repeat(np.uint16([[0, 1000]]), 8, 1).repeat(16, 0)
    bicubic = tfmisr.load("bicubic", scale=2)
    assert bicubic(step).max() == 1023  # cubic interpolation overshoots: clipped at 2**10 - 1
    assert 1023 < bicubic(step, max_val=4095).max() < 4095
    assert bicubic(step, max_val=1000).max() == 1000
    assert bicubic(np.uint16(step // 10)).max() <= 255


@pytest.mark.parametrize(
    "array,max_val,message",
    [
        (np.zeros((9, 9), np.int16), None, "uint8, uint16, or float in [0, 1]. Received: int16"),
        (np.zeros((9, 9), bool), None, "Received: bool"),
        (np.zeros((9, 9), np.float32) + 255, None, "a float image must be in [0, 1]. Received: 255 to 255"),
        (np.full((9, 9), np.nan), None, "a float image must be in [0, 1]. Received: nan"),
        (np.zeros((9, 9)), 1, "max_val applies to uint8 and uint16"),
        (np.full((9, 9), 300, np.uint16), 255, "max_val must not be below the image's values, up to 300"),
        (np.zeros((9, 9), np.uint8), 256, "max_val must be a whole number from 1 to 255 for uint8"),
        (np.zeros((1, 9, 9, 1), np.uint8), None, "Received: (1, 9, 9, 1)"),
        (np.zeros((9, 9, 4), np.uint8), None, "Received: (9, 9, 4)"),
        (np.zeros((0, 9), np.uint8), None, "Received: (0, 9)"),
    ],
)
def test_arrays_without_a_known_range_are_refused(array, max_val, message):
    with pytest.raises(InputError, match=re.escape(message)):
        tfmisr.load("bicubic")(array, max_val)


def test_color_needs_a_model_for_color_or_luma():
    color = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
    with pytest.raises(InputError, match="takes images of 1 channel"):
        tfmisr.load("fast-x2")(color)
    assert tfmisr.load("fast-x2", color="luma")(color).shape == (40, 48, 3)


def test_file_comes_back_as_its_images(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 4096, (2, 20, 24, 1), np.uint16)
    images.write_images(tmp_path / "a.tif", pixels, 4095, 2)
    fast = tfmisr.load("fast-x2")
    found = fast(tmp_path / "a.tif")
    assert [(image.max_val, image.pixels.dtype) for image in found] == [(4095, np.uint16)] * 2
    np.testing.assert_array_equal(found[1].pixels, fast(pixels[1], max_val=4095))
    assert repr(found[0]) == "<gray image of 40x48 pixels, uint16, max_val 4095>"
    upscale.main(["--model", "fast-x2", str(tmp_path / "a.tif"), "--output", str(tmp_path / "b.tif"), "--force"])
    for own, written in zip(found, images.read_images(tmp_path / "b.tif"), strict=True):
        np.testing.assert_array_equal(own.pixels, written.pixels)
    with pytest.raises(InputError, match="max_val is for arrays"):
        fast(tmp_path / "a.tif", max_val=255)


def test_fit_returns_what_the_command_prints(made):
    said = json.loads((made / "fit.json").read_text())
    lines = said["text"].splitlines()
    assert lines[-4:] == [
        lines[-4],
        said["verdict"],
        f"model: {made / 'run' / 'model.keras'}",
        f"picture: {made / 'run' / 'evaluation' / 'montage.png'}",
    ]
    assert said["table"].splitlines()[0].startswith("model") and said["text"].startswith(said["table"])
    page = (made / "fit.html").read_text()
    assert page.count("<tr>") == 6 and "<b>" in page and "data:image/png;base64," in page


def test_run_is_loaded_with_its_scale(made):
    network = tfmisr.load(made / "run")
    assert (network.scale, network.channels, network.name) == (2, 1, "run") and network.parameters > 0
    assert repr(network) == f"<upscaler run: scale 2, channels 1, {network.parameters:,} parameters>"
    assert network.config["steps"] == 4 and network(np.zeros((9, 8), np.uint8)).shape == (18, 16)


def test_evaluation_from_python_is_that_of_the_command(made, tmp_path, capsys):
    common = {"measures": ["psnr", "ssim"], "max_images": 2}
    found = tfmisr.evaluate([made / "run", "nearest"], output=tmp_path / "here", **common)
    assert capsys.readouterr().out == ""
    evaluate.main(
        [str(made / "run"), "nearest", "--measures", "psnr,ssim", "--max_images", "2", "--output", str(tmp_path / "b")]
    )
    printed = capsys.readouterr().out
    written = json.loads((tmp_path / "b" / "metrics.json").read_text())
    assert found.metrics == written and list(found.summary) == ["bicubic", "run", "nearest"]
    assert (
        printed.startswith(found.table()) and printed.replace(str(tmp_path / "b"), str(found.workdir)) == f"{found}\n"
    )
    assert found._repr_png_() == (tmp_path / "b" / "montage.png").read_bytes() == found.figure.read_bytes()
    assert found._repr_html_().count("<tr>") == 4
    assert repr(found).startswith("<Evaluation: bicubic ") and str(tmp_path / "here") in repr(found)


def test_export_returns_files_and_comparison(made, tmp_path, capsys):
    found = tfmisr.export(
        made / "run", tmp_path, formats="float32", images=1, rounds=1, split="test", max_float32_error=0.0
    )
    assert [path.name for path in found.files] == ["run_float32.tflite"] and found.files[0].is_file()
    assert found.failures and "over the limit: run_float32.tflite" in capsys.readouterr().err
    assert found.summary["failures"] == json.loads((tmp_path / "report.json").read_text())["failures"]
    assert found.table().startswith("run_float32.tflite: PSNR drop ") and "<td>run_float32" in found._repr_html_()
    assert repr(found) == f"<Exported: run_float32.tflite in {tmp_path}; 1 over a limit>"
    lr = np.random.default_rng(0).integers(0, 256, (24, 24), np.uint8)
    # The file corrects its result to agree with the input, which the run's network does not.
    file = upscalers.load(str(found.files[0]), consistency=False)(lr[..., None] / np.float32(255), 2, 255)[..., 0]
    assert np.abs(file.astype(int) - tfmisr.load(made / "run")(lr)).max() <= 1
    assert upscalers.load(str(found.files[0])).consistency == "bicubic, 2 iterations, dead zone 0.25 levels"


def test_search_returns_its_best_trial(tmp_path, monkeypatch, capsys):
    from tfmisr.tuning import driver, results

    trial = {"trial": "0", "values": {"learning_rate": 0.01}, "seed": 0, "status": "completed", "reason": None}
    trial |= {"steps": 4, "val_psnr": 30.0, "bicubic_psnr": 31.0}

    def lead(sweep, *_):
        results.home(sweep.folder, "0").mkdir(parents=True)
        results.write(sweep.folder, "0", trial)
        (sweep.folder / "study.csv").write_text(results.table([trial]))
        return trial

    monkeypatch.setattr(driver, "lead", lead)
    space = tmp_path / "space.json"
    space.write_text('{"learning_rate": [0.01]}')
    found = tfmisr.tune(space=space, tuner="grid", workdir=tmp_path / "sweep", **TINY)
    assert found.summary == trial and found.trials[0]["val_psnr"] == "30.0" and found.figure is None
    assert "best setting: learning_rate=0.01: val_psnr 30.0000" in found.table()
    assert f"python -m tfmisr.fit --config {tmp_path / 'sweep' / 'best.json'}" in str(found)
    assert found.run == tmp_path / "sweep" / "trials" / "0" and "<td>0.01</td>" in found._repr_html_()
    assert repr(found) == f"<Search: best trial 0 (learning_rate=0.01); files in {tmp_path / 'sweep'}>"
    assert "best setting" not in capsys.readouterr().out


@pytest.mark.parametrize("first,second", [("tfmisr.models", "keras"), ("keras", "tfmisr.models")])
def test_keras_opens_a_run_after_the_models_are_imported(made, first, second):
    script = (
        f"import sys, {first}\n"
        f"assert 'tfmisr.models' != {first!r} or not {{'keras', 'tfmisr.layers.upsampling'}} & set(sys.modules)\n"
        f"import {second}, numpy as np\n"
        "network = keras.saving.load_model(sys.argv[1])\n"
        "assert network(np.zeros((1, 8, 8, 1))).shape == (1, 16, 16, 1)\n"
        "keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object("
        "tfmisr.models.create('rcan', 2).layers[-1]))\n"
        "names = set(keras.saving.get_custom_objects())\n"
        "assert {'tfmisr>BicubicUpsampling', 'tfmisr>ContrastPooling', 'tfmisr>CollapsibleConv2D'} <= names\n"
        "assert not [f for f in sys.meta_path if getattr(f, '__name__', '') == '_AfterKeras']"
    )
    done = python(script, made / "run" / "model.keras")
    assert done.returncode == 0, done.stderr


def test_pairs_are_those_of_a_run(made):
    from tfmisr.data import pipeline

    chosen = {"data_dir": made / "data", "scale": 2}
    endless = tfmisr.data.pairs(made / "scans", batch_size=3, patch_size=8, seed=5, **chosen)
    assert endless.cardinality() == -1  # tf.data.INFINITE_CARDINALITY
    source = tfmisr.data.load(str(made / "scans"), made / "data")
    sampler = pipeline.PatchSampler(pipeline.cache_of(source, "train"), 2, degradations.make(2), 8, 3, seed=5)
    for step, (lr, hr) in enumerate(endless.take(2)):
        np.testing.assert_array_equal(lr, sampler.batch(step)[0])
        np.testing.assert_array_equal(hr, sampler.batch(step)[1])
    assert tfmisr.data.pairs(made / "scans", steps=7, patch_size=8, **chosen).cardinality() == 7
    full = tfmisr.data.pairs(made / "scans", "test", patch_size=None, degradation="mr", **chosen)
    shapes = [(lr.shape, hr.shape, lr.dtype, hr.dtype) for lr, hr in full]
    assert len(full) == len(shapes) > 0
    assert {tuple(map(str, shape)) for shape in shapes} == {
        ("(1, 32, 32, 1)", "(1, 64, 64, 1)", "<dtype: 'float32'>", "<dtype: 'float32'>")
    }
    with pytest.raises(InputError, match="split must be one of"):
        tfmisr.data.pairs(made / "scans", "tset", **chosen)


def test_defaults_of_pairs_are_those_of_a_run():
    import inspect

    own = {name: p.default for name, p in inspect.signature(tfmisr.data.pairs).parameters.items()}
    expected = dataclasses.asdict(config.Config())
    del own["dataset"], own["split"], own["augment"], own["steps"]  # None: without end
    assert own == {name: expected[name] for name in own}


def test_degradation_is_created_by_name_and_called_with_any_image():
    degrade = tfmisr.degradations.make("bicubic", scale=4)
    assert degrade == degradations.make(4) == degradations.make(scale=4)
    assert repr(degrade) == "<degradation Bicubic(scale=4) rounded>"
    assert degradations.make("xray", scale=2, photons=500) == degradations.make(2, degradation="xray(photons=500)")
    hr = smooth_images(1, 32, 0)[0]
    expected = np.rint(255 * degradations.make(4)(hr / np.float32(255), 255))
    np.testing.assert_array_equal(degrade(hr), expected.astype(np.uint8))
    np.testing.assert_array_equal(degrade(hr[..., 0]), degrade(hr)[..., 0])
    assert degrade(hr).dtype == np.uint8 and degrade(np.uint16(hr)).dtype == np.uint16
    flat = degrade(np.float64(hr[..., 0]) / 255)  # of no levels: not rounded
    np.testing.assert_allclose(flat, degradations.make(4, quantize_lr=False)(hr / np.float32(255), 255)[..., 0])
    noisy = degradations.make("bicubic", scale=4, noise_std=0.1)
    np.testing.assert_array_equal(noisy(hr, rng=3), noisy(hr, rng=np.random.default_rng(3)))
    assert (noisy(hr) != noisy(hr)).any()


@pytest.mark.parametrize(
    "arguments,named,message",
    [
        (("bicubik",), {"scale": 4}, "did you mean bicubic?"),
        (("bicubic",), {}, "scale must be a whole number, as in make('bicubic', scale=4). Received: None"),
        (("bicubic",), {"scale": 2.5}, "Received: 2.5"),
        ((2,), {"scale": 4}, "expected one scale. Received: 2 and 4"),
        (("ct",), {"scale": 4, "degradation": "mr"}, "expected one degradation. Received: ct and mr"),
        (("xray(photons=5)",), {"scale": 4, "photons": 6}, "not both"),
        (("xray",), {"scale": 4, "fotons": 6}, "did you mean photons?"),
    ],
)
def test_degradation_that_cannot_be_made_is_refused(arguments, named, message):
    with pytest.raises(InputError, match=re.escape(message)):
        degradations.make(*arguments, **named)


def test_like_does_not_change_its_input():
    image = np.zeros((4, 4, 1), np.uint16)
    assert np.shares_memory(arrays.match_type(image, np.zeros((2, 2), np.uint16)), image)


def test_commands_are_listed_and_called_by_name(capsys, monkeypatch):
    from tfmisr import __main__ as program

    called = []
    for name in program.COMMANDS:
        text = (ROOT / ("export" if name.startswith("export") else "tfmisr")).joinpath
        part = {"export": "__main__.py", "export.benchmark": "benchmark.py"}.get(name, name)
        assert text(part).exists() or text(f"{part}.py").exists(), name
    assert program.call([]) == 0
    listed = capsys.readouterr().out
    assert all(re.search(rf"^  {re.escape(name)} +\S", listed, re.MULTILINE) for name in program.COMMANDS)
    module = types.SimpleNamespace(main=lambda: called.append(sys.argv[1:]))
    monkeypatch.setattr(program.importlib, "import_module", lambda name: called.append(name) or module)
    monkeypatch.setattr(sys, "argv", ["tfmisr", "fit", "--steps", "5"])
    program.call(["fit", "--steps", "5"])
    assert called == ["tfmisr.fit", ["--steps", "5"]]
    with pytest.raises(InputError, match=r"unknown command evalute; did you mean evaluate\?"):
        program.call(["evalute"])


@pytest.mark.parametrize("arguments,status,text", [(["--version"], 0, "tfmisr 0."), (["fti"], 2, "did you mean fit?")])
def test_program_ends_as_every_command(arguments, status, text):
    done = subprocess.run([sys.executable, "-m", "tfmisr", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == status and text in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["fit", "export", "models", "reader_study"])
def test_command_by_name_is_the_command(command):
    script = "import sys; from tfmisr.__main__ import main; sys.argv = ['tfmisr', *sys.argv[1:]]; main()"
    done = python(script, command, "--help")
    assert (done.returncode, f"python -m tfmisr.{command}" in done.stdout) == (0, True), done.stderr
