"""Makes files.tar.xz with the code of the release that it lies in: one folder of everything that the code reads back.

    git checkout v0.1.0
    PYTHONPATH=.:tests python tests/previous_release/make.py files.tar.xz

Do not run it with a later release: the files are worth something because that code wrote them. All paths in them are
relative to the folder, which is the working directory of what reads them.
"""

import contextlib
import datetime
import io
import json
import os
import pathlib
import shutil
import sys
import tarfile
import tempfile
import zipfile

import numpy as np

TIME = 1_700_000_000  # of the images, whose times are part of a prepared dataset's name
COMMON = ("--dataset", "images", "--data_dir", "prepared")
SMALL = ("--scale", "2", "--patch_size", "12", "--batch_size", "2", "--save_every", "2", "--validate_every", "2")
SHORT = ("--no-auto_warmup", "--steps")
RUNS = {
    "cnn": (*SHORT, "6", "--model", "cnn5/num_filters=4,num_layers=2", "--ema_decay", "0.9", "--hard_patches", "0.5"),
    "gan": (*SHORT, "4", "--model", "cnn5/num_filters=2,num_layers=1", "--discriminator", "patch", "--r1_weight", "1"),
    "cycle": (*SHORT, "4", "--model", "cnn5/num_filters=2,num_layers=1", "--discriminator", "patch", "--unpaired")
    + ("--image_pool", "2"),
    "aware": (*SHORT, "4", "--model", "plain/num_filters=4,num_layers=2", "--quantization_aware")
    + ("--initial_weights", "networks/plain.keras"),
}
RUNS["cnn"] += ("--loss", "charbonnier + 0.1*ssim", "--schedule", "linear")
FORMATS = ("float32", "float16", "dynamic", "int8", "int16x8")
TUNE = ("--tuner", "grid", "--space", "space.json", "--model", "plain/num_layers=1", *SHORT, "2")
FEW = ("--measures", "psnr", "ssim", "gmsd", "laplacian")


def shrink() -> None:
    """Makes networks of unpaired and adversarial runs small, as their state is; who resumes the runs does it too."""
    for function, defaults in small_networks():
        function.__defaults__ = defaults


def small_networks() -> list[tuple]:
    """Returns functions with default arguments for them."""
    from tfmisr.models.discriminators import patch
    from tfmisr.training import cycle

    return [(patch.build, (1, 1)), (cycle.degrader, (1, 2, 1))]


def picture(seed: int, side: int = 48, noise: float = 0.01) -> np.ndarray:
    """Returns a float64 image in [0, 1] of waves, edges and a little noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    a, b, c = rng.uniform(4, 12, 3)
    image = 0.5 + 0.25 * np.sin(x / a) * np.cos(y / b) + 0.15 * np.sign(np.sin((x + y) / c))
    return np.clip(image + rng.normal(0, noise, image.shape), 0, 1)


def images() -> None:
    """A dataset of 12 images of 8 bits, a series of three images of 12 bits, and the cases of a study."""
    from PIL import Image

    for folder, count, full, *size in (("images", 12, 255), ("series", 3, 4095), ("cases", 6, 4095, 24, 0)):
        pathlib.Path(folder).mkdir()
        for i in range(count):
            dtype = np.uint8 if full == 255 else np.uint16
            path = pathlib.Path(folder, f"patient{i:02d}.png")
            bright = full // 5 if (folder, i) == ("series", 2) else full  # alone, it had another scale
            pixels = np.rint(bright * picture(i, *size)).astype(dtype)
            Image.fromarray(pixels).save(path)  # a series of more than 8 bits has a scale of its own
            os.utime(path, (TIME, TIME))


def random_weights(network, seed: int = 0):
    """Gives a network small weights other than its start, and returns it."""
    rng = np.random.default_rng(seed)
    for weight in network.weights:
        start = 1.0 if weight.name in ("gamma", "moving_variance") else 0.0
        weight.assign(start + 0.2 * rng.uniform(-1, 1, weight.shape))
    return network


def networks() -> None:
    """`.keras` files that between them hold every registered layer, loss, optimizer and initializer."""
    import keras

    from tfmisr import models

    folder = pathlib.Path("networks")
    folder.mkdir()
    x = picture(99, 12)[None, :, :, None].astype(np.float32)
    y = picture(98, 24)[None, :, :, None].astype(np.float32)
    found = {
        "cnn5": models.create("cnn5/num_filters=4,num_layers=2", 2),
        "plain": models.create("plain/num_filters=4,num_layers=2", 2),
        "imdn": models.create("imdn/num_filters=4,num_blocks=1", 2),
        "san": models.create("san/num_filters=4,num_groups=1,num_blocks=1", 2),
        "sesr": models.create("sesr/num_filters=4,num_layers=1,expansion=8", 2),
        "parts": _parts(),
    }
    outputs = {"x": x, "y": y}
    for i, (name, network) in enumerate(found.items()):
        random_weights(network, i)
        if name == "plain":  # what it adds is as small as what a trained network adds, so that int8's fine range counts
            network.get_layer("output_conv").set_weights(
                [w / 8 for w in network.get_layer("output_conv").get_weights()]
            )
        network.save(folder / f"{name}.keras")
        outputs[name] = np.asarray(network(x, training=False))
    for name in ("losses", "muon"):
        network = random_weights(models.create("cnn5/num_filters=2,num_layers=1", 2), 9)
        network.compile(*_compiled(name))
        network.train_on_batch(x, y)
        network.save(folder / f"{name}.keras")
        outputs[name] = np.asarray(network(x, training=False))
        outputs[f"{name}_loss"] = np.asarray(network.loss(y, outputs[name]))
    np.savez(folder / "outputs.npz", **outputs)
    registered = sorted(name for name in keras.saving.get_custom_objects() if name.startswith("tfmisr>"))
    (folder / "registered.json").write_text(json.dumps(registered, indent=1))
    configs = "".join(zipfile.ZipFile(path).read("config.json").decode() for path in folder.glob("*.keras"))
    assert [name for name in registered if f'"{name}"' not in configs] == ["tfmisr>VGG19Perceptual"]  # 80 MB


def _parts():
    """The layers that small networks of the zoo do not have."""
    import keras

    from tfmisr import attention, layers

    low_res = keras.Input((None, None, 1), name="low_res")
    padded = layers.SymmetricPadding(1, name="padding")(low_res)
    x = keras.layers.Conv2D(4, 3, strides=2, kernel_initializer=layers.NearIdentity(0.3, seed=1), name="conv")(padded)
    x = attention.BilinearResizing(name="resizing")(x, low_res)
    pooled = attention.ContrastPooling(name="pooling")(x)
    x = attention.WeightedSum(name="sum")(x, keras.layers.Multiply(name="product")([x, pooled]))
    x = layers.UnitRange(name="range")(layers.DepthToSpace(2, name="shuffle")(x))
    return keras.Model(low_res, keras.layers.Add(name="add")([x, layers.BicubicUpsampling(2, name="bicubic")(low_res)]))


def _compiled(name):
    import keras

    from tfmisr import losses
    from tfmisr.training import optimizers

    rate = optimizers.LearningRate(1e-3, 10, 2, "cosine", 3)
    if name == "muon":
        return optimizers.Muon(rate), losses.get("mae")
    text = "charbonnier(epsilon=0.01) + 0.1*ssim + 0.2*ms_ssim(scales=2) + 0.3*gradient(kind=difference)"
    text += " + 0.1*frequency(kind=focal, alpha=0.5) + 0.01*total_variation + mse"
    text += " + 0.1*perceptual(network=networks/cnn5.keras, layers=conv1, value_range=signed, distance=l2)"
    return keras.optimizers.Adam(rate), losses.get(text)


def runs() -> None:
    """Runs with their first checkpoint, and the weights that they have at their end when they are resumed from it.

    The checkpoint is not quite the one that the run wrote: a run that begins again must end with other weights.
    """
    from tfmisr import config, fit, models

    shrink()
    folders = {}
    for name, flags in RUNS.items():
        folder = pathlib.Path("runs", name)
        command = [*COMMON, *SMALL, *flags, "--workdir", str(folder)]
        fit.main(command)
        first, last = sorted((folder / "checkpoints").glob("*.npz"))
        last.unlink()
        _moved(first)
        (folder / "model.keras").unlink()
        kept = {path: path.read_bytes() for path in (first, folder / "history.csv")}
        fit.main(command)
        shutil.rmtree(folder / "checkpoints")
        first.parent.mkdir()
        for path, content in kept.items():
            path.write_bytes(content)
        weights = models.load(folder).get_weights()
        np.savez(folder / "final.npz", **{f"{i:03d}": weight for i, weight in enumerate(weights)})
        shutil.rmtree(folder / "tensorboard", ignore_errors=True)
        (folder / "evaluation" / "montage.png").unlink()
        if name not in ("cnn", "aware"):
            (folder / "model.keras").unlink()
            shutil.rmtree(folder / "evaluation")
        fields = {**config.read(folder / "config.json"), "workdir": None}
        folders[name] = config.from_dict(fields, name).folder.name
    pathlib.Path("runs", "folders.json").write_text(json.dumps(folders, indent=1))


def _moved(path) -> None:
    with np.load(path) as file:
        arrays = {key: file[key] * np.float32(0.9) if key.startswith("network/") else file[key] for key in file.files}
    np.savez(path, **arrays)


def exports() -> None:
    """`.tflite` files of every flavour, and what each makes of an image, in levels of 16 bits."""
    from tfmisr import upscalers
    from tfmisr.export import __main__ as export
    from tfmisr.training import tflite_weights

    flags = ("--images", "2", "--calibration_images", "4", "--rounds", "1", "--tile", "24", "--max_tile", "64")
    flags += ("--licence", "CC0", "--modality", "waves")
    export.main(["runs/aware", "--name", "plain", "--output", "exports", "--formats", *FORMATS, *COMMON, *flags])
    outputs = {"x": picture(97, 32)[..., None].astype(np.float32)}
    for path in sorted(pathlib.Path("exports").glob("*.tflite")):
        outputs[path.stem] = upscalers.load(str(path))(outputs["x"], 2, 65535)
    for name in ("plain_float32", "plain_int8"):
        weights = tflite_weights.network(pathlib.Path("exports", f"{name}.tflite")).get_weights()
        outputs |= {f"{name}/{i}": weight for i, weight in enumerate(weights)}
    outputs["bicubic"] = upscalers.load("bicubic")(outputs["x"], 2, 65535)
    np.savez_compressed("exports/outputs.npz", **outputs)


def evaluations() -> None:
    """Two evaluations of one protocol, the second with the first one's models in its table."""
    from tfmisr import evaluate

    first = ("runs/cnn", "exports/plain_int8.tflite", "--output", "evaluations/first")
    second = ("nearest", "--scale", "2", "--output", "evaluations/second", "--merge", "evaluations/first")
    for flags in (first, second):
        evaluate.main([*flags, *COMMON, *FEW])
    for path in pathlib.Path("evaluations").rglob("montage.png"):
        path.unlink()


def classical() -> None:
    """What the classical methods that learn have learned, and what they make of an image."""
    from tfmisr import classical, data, upscalers
    from tfmisr.classical import optimal_linear, plug_and_play, sparse_coding

    optimal_linear.SETTINGS["positions"] = 2000
    sparse_coding.SETTINGS.update(atoms=24, patches=600, iterations=4, batch=64, components=12)
    plug_and_play.SETTINGS.update(filters=4, steps=3, batch=2, patch=24)
    source = data.load("images", "prepared")
    pathlib.Path("classical").mkdir()
    outputs = {"x": picture(96, 16)[..., None].astype(np.float32)}
    for name in classical.LEARNING:
        path = classical.fitted_file(name, source, {"scale": 2})
        kept = pathlib.Path(shutil.move(path, f"classical/{name}{path.suffix}"))
        outputs[name] = upscalers.load(str(kept))(outputs["x"], 2, 65535)
    path.parent.rmdir()
    np.savez_compressed("classical/outputs.npz", **outputs)


def sweep() -> None:
    """A grid of two trials."""
    from tfmisr import tune

    pathlib.Path("space.json").write_text(json.dumps({"num_filters": [2, 4]}))
    pathlib.Path("space.toml").write_text(
        'num_filters = [2, 4]\nlearning_rate = {min = 1e-4, max = 1e-2, log = true}\nloss = ["mae", "mse"]\n'
        "warmup_steps = {min = 0, max = 4, step = 2}\n"
    )
    tune.main([*COMMON, *SMALL, *TUNE, "--workdir", "sweep"])
    for pattern in (
        "trials/*/run",
        "trials/*/tensorboard",
        "trials/*/checkpoints",
        "tensorboard",
        "trials/*/evaluation",
    ):
        for path in pathlib.Path("sweep").glob(pattern):
            shutil.rmtree(path)
    for path in [*pathlib.Path("sweep").rglob("*.png"), *pathlib.Path("sweep").rglob("*.keras")]:
        path.unlink()


STUDY = """
title = "A study"
instructions = "Look."
scale = 2
seed = 7

[cases]
files = ["cases/*.png"]
count = 5
training = 1
patient_pattern = "(.+)"

[degradation]
degradation = "bicubic"
blur_sigma = 0.5
noise_std = 0.001
quantize_lr = true

[[arms]]
name = "armadillo"
model = "nearest"

[[arms]]
name = "buffalo"
model = "bicubic"

[[arms]]
name = "caracal"
model = "truth"

[[questions]]
key = "quality"
text = "How good?"
anchors = ["one", "two", "three", "four", "five"]

[[questions]]
key = "usefulness"
text = "How useful?"
anchors = ["one", "two", "three", "four", "five"]

[preference]
text = "Which is better?"
pairs = [["armadillo", "buffalo"]]

[order]
repeats = 0.2
repeat_distance = 2
min_distance = 1
sessions = 1
washout_days = 0

[display]
panes = ["lr", "rated", "truth"]
interpolation = "nearest"

[reading]
allow_back = true
minimum_seconds = 2.0
break_minutes = 20

[analysis]
reference = "buffalo"
primary = "usefulness"
margins = { quality = 0.5 }
plan = "None."
"""


def study() -> None:
    """A closed study of three readers, with its export and results; and an open one that a reader has begun."""
    from tfmisr.study import __main__ as command

    pathlib.Path("STUDY.toml").write_text(STUDY)
    for folder, readers in (("study", ("A", "B", "C")), ("begun", ("A",))):
        command.main(["build", "STUDY.toml", "--output", folder])
        with contextlib.redirect_stdout(io.StringIO()):  # links with tokens
            command.main(["readers", folder, "--add", *readers])
        answer(folder, None if folder == "study" else 3)
    command.main(["close", "study"])
    command.main(["export", "study", "--output", "study-export"])
    command.main(["analyse", "study-export", "--output", "study-report"])
    for path in [*pathlib.Path("study-report").glob("*.html"), *pathlib.Path("study-report").glob("*.csv")]:
        path.unlink()


def answer(folder: str, until: int | None, start: int = 0) -> None:
    """Answers the trials of all readers from the one to the other."""
    from tfmisr.study.answer import Answer
    from tfmisr.study.frozen import Study
    from tfmisr.study.store import Store

    class Clock:
        now = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)

        def __call__(self):
            self.now += datetime.timedelta(seconds=20)
            return self.now

    rng = np.random.default_rng(3)
    with Store(Study(folder), Clock()) as store:
        for reader, _ in store.readers():
            store.record_display(reader, {"ambient": "dimmed", "renderer": "webgl2"})
            for trial in store.trials(reader)[start:until]:
                values = _scores(trial.arms[0], rng) if len(trial.arms) == 1 else {"preference": "right"}
                submission = f"submission {trial.position}"
                store.commit(reader, trial.token, Answer(values, submission, 5000.0, 1000.0, 500.0, 2048.0, 4096.0))


def _scores(arm, rng):
    level = {"armadillo": 2, "buffalo": 3, "caracal": 4}[arm]
    scores = np.clip(level + rng.integers(-1, 2, 2), 1, 5)
    return {"quality": int(scores[0]), "usefulness": int(scores[1])}


def upscaled() -> None:
    """Three images of a series, enlarged, with the record of how."""
    from tfmisr import upscale

    upscale.main(["--model", "exports/plain_int8.tflite", "series", "--output", "upscaled"])


PARTS = (images, networks, runs, exports, evaluations, classical, sweep, study, upscaled)


def _packed(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leaves out what belongs to a machine or is made anew, and whose the files were."""
    if member.name.endswith((".lock", "/lock", "-wal", "-shm", "__pycache__")):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def main(target: str) -> None:
    """Makes all files in a temporary folder and packs them."""
    target = pathlib.Path(target).absolute()
    with tempfile.TemporaryDirectory() as folder:
        before = os.getcwd()
        os.chdir(folder)
        try:
            for part in PARTS:
                print(f"== {part.__name__}", flush=True)
                part()
        finally:
            os.chdir(before)
        with tarfile.open(target, "w:xz", preset=9) as archive:
            archive.add(folder, ".", filter=_packed)


if __name__ == "__main__":
    main(sys.argv[1])
