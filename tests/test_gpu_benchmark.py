"""S-26: the GPU benchmark, its plan for a number of minutes, the state that a stopped training leaves, the pack."""

import importlib
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tfmisr import config, models
from tfmisr.edge.errors import InputError
from tfmisr.training import loop

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture
def benchmark(monkeypatch):
    """Imports a module of benchmarks/, which is a folder of scripts."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


def test_steps_fill_the_minutes_in_the_recipes_proportion(benchmark):
    """S-26: 100 s, of which 90 s are used and 10 + 20 s are compilation; 60 s are left for 1000 * 0.02 + 200 * 0.05."""
    planned_steps = benchmark("gpu_train").planned_steps
    assert planned_steps([1000, 200], [0.02, 0.05], [10.0, 20.0], 100.0) == [2000, 400]
    with pytest.raises(InputError, match=r"at least 10 steps of each stage. Received: 34 s, of which 30 s"):
        planned_steps([1000, 200], [0.02, 0.05], [10.0, 20.0], 33.6)


def test_every_stage_is_a_preset_and_its_initial_weights_travel(benchmark):
    """S-26: a stage that begins with a shipped model finds it in the pack."""
    from tfmisr import config

    stages, pack = benchmark("gpu_train").STAGES, benchmark("pack_gpu")
    shipped = {initial for run in stages.values() for _, _, initial in run if initial} - {"the stage before"}
    assert shipped == set(pack.INITIAL)
    for run, recipe in stages.items():
        assert recipe[-1][0] == run or run == "fast_x2"
        assert recipe[0][2] != "the stage before"
        for name, changes, _ in recipe:
            assert set(changes) <= {"scale"} and config.preset(name)


def test_work_of_a_gan_step_counts_the_discriminator_seven_times(benchmark, monkeypatch, tmp_path):
    """S-26: by hand, a 3x3 convolution from 1 to 2 channels, on LR as the network and on HR as the discriminator."""
    import keras

    steps = benchmark("gpu_steps")
    image = keras.Input((None, None, 1))
    convolution = keras.Model(image, keras.layers.Conv2D(2, 3, padding="same")(image))
    monkeypatch.setattr(steps.discriminators, "create", lambda name, channels: convolution)
    fields = {"scale": 2, "patch_size": 10, "batch_size": 4, "workdir": str(tmp_path)}
    from tfmisr import config

    plain = config.Config(**fields)
    gan = config.Config(**fields, discriminator="dcgan")
    assert steps.multiply_adds(plain, convolution) == 4 * 3 * 18 * 100
    assert steps.multiply_adds(gan, convolution) == 4 * (3 * 18 * 100 + 7 * 18 * 400)


def _work(folder, step: int):
    (folder / "run" / "checkpoints").mkdir(parents=True, exist_ok=True)
    (folder / "plan.json").write_text("{}")
    (folder / "run" / "config.json").write_text("config")
    (folder / "run" / "checkpoints" / f"step-{step:08d}.npz").write_bytes(bytes(range(256)) * 100)


def test_state_comes_back_in_parts_and_only_a_complete_one_counts(benchmark, tmp_path):
    """S-26: a killed run leaves its state; files of at most the part's size, the last checkpoint only."""
    state = benchmark("gpu_state")
    work, output, restored = (tmp_path / name for name in ("work", "output", "restored"))
    output.mkdir()
    _work(work, 10)
    state.save(work, output, 10_000)
    _work(work, 20)
    state.save(work, output, 10_000)
    parts = sorted(output.iterdir())
    assert len(parts) > 2 and all(p.name.startswith("state-2-") and p.stat().st_size <= 10_000 for p in parts)
    (output / "state-3-1of2").write_bytes(b"the machine was taken back before the second part")
    state.restore(output, restored)
    assert [p.name for p in (restored / "run" / "checkpoints").iterdir()] == ["step-00000020.npz"]
    assert (restored / "run" / "config.json").read_text() == "config"
    parts[0].unlink()
    with pytest.raises(InputError, match="expected a complete state"):
        state.restore(output, tmp_path / "none")


def test_state_is_saved_beside_the_training(benchmark, monkeypatch, tmp_path):
    """S-26: a new checkpoint is in the output before the training ends."""
    state = benchmark("gpu_state")
    monkeypatch.setattr(state, "_POLL", 0.01)
    output = tmp_path / "output"
    output.mkdir()
    (tmp_path / "work").mkdir()
    with state.copied(tmp_path / "work", output):
        _work(tmp_path / "work", 10)
        for _ in range(500):
            if list(output.glob("state-*")):
                break
            state.threading.Event().wait(0.01)
        assert list(output.glob("state-*"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--train", "best_x4"], "--train needs images: --cache FOLDER"),
        (["--device_data"], "--data_workers and --device_data are of a training: give --train PRESET too"),
        (["--train", "nonsense", "--cache", "x"], "--train must be of fast_x2, .*Received: nonsense"),
        (["--dtypes", "int8"], "--dtypes must be of float32, bfloat16, float16. Received: int8"),
        (["--minutes", "0"], "must be greater than 0"),
    ],
)
def test_wrong_flags_are_refused(benchmark, flags, message):
    """S-26: before anything is measured."""
    gpu = benchmark("gpu")
    with pytest.raises(InputError, match=message):
        gpu.check(gpu.make_parser().parse_args(flags))


@pytest.mark.parametrize("way", [{"device_data": True}, {"data_workers": 1}])
def test_plan_times_the_feed_that_the_run_has(benchmark, monkeypatch, tmp_path, way):
    """S-26: the flags are fields of every stage, and its step is timed with that feed."""
    from synthetic import ArraySource, smooth_images

    from tfmisr.data import workers
    from tfmisr.training import device_data

    train = benchmark("gpu_train")
    monkeypatch.setattr(train, "_TIMED_SECONDS", 0.01)
    flags = [part for name, value in way.items() for part in (f"--{name}", *([] if value is True else [str(value)]))]
    command = ["--train", "best_x2", "--cache", "images", "--output", str(tmp_path / "gpu"), *flags]
    stages = train.stages_of(benchmark("gpu").make_parser().parse_args(command))
    assert len(stages) == 2 and all(way.items() <= stage.fields.items() for stage in stages)
    kind = device_data.DeviceData if "device_data" in way else workers.WorkerBatches
    used, create = [], kind.__init__
    monkeypatch.setattr(kind, "__init__", lambda self, *each: (used.append(kind), create(self, *each))[1])
    fields = {"model": "plain/num_filters=4,num_layers=1", "patch_size": 8, "batch_size": 2, "steps": 10, **way}
    source = ArraySource(tmp_path / "images", {"train": smooth_images(4, 64, 0)})
    seconds, compilation = train.timed(train.Stage("fast_x4", "fast_x4", fields), source)
    assert used and 0 < seconds < compilation


@pytest.mark.large
@pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="JAX is not installed")
def test_quick_run_with_jax_leaves_figures(tmp_path):
    """S-26: `--quick` measures a tiny network with JAX; the peak, the step and the versions are in the JSON."""
    command = [sys.executable, "benchmarks/gpu.py", "--quick", "--networks", "fast_x4", "--dtypes", "float32"]
    command += ["--batches", "0", "--output", str(tmp_path)]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    figures = json.loads((tmp_path / "figures.json").read_text())
    (row,) = figures["rows"]
    assert figures["device"]["backend"] == "jax" and "tensorflow" not in figures["device"]["backend"]
    assert row["xla"] and row["step_ms"] > 0 and "error" not in row
    # 16 patches a step is the preset's; a tiny one has 2 of 12x12.
    assert row["images_per_s"] == pytest.approx(2000 / row["step_ms"])
    assert row["of_convolution_peak"] * figures["peaks_mac_per_s"]["float32"]["convolution"] == pytest.approx(
        1e9 * row["gmac_per_s"]
    )


def test_pack_asks_pip_for_wheels_of_the_target_only(benchmark):
    """S-26: Python, ABI and platform are those of the target, and nothing is built from source."""
    pack = benchmark("pack_gpu")
    arguments = pack.make_parser().parse_args(["--python", "3.13", "--platform", "manylinux_2_28_x86_64"])
    command = " ".join(pack.download_command(arguments, pathlib.Path("tfmisr.whl"), pathlib.Path("wheels")))
    assert "--only-binary=:all:" in command and "--python-version 3.13" in command
    assert "--abi cp313 --abi abi3 --abi none --platform manylinux_2_28_x86_64" in command


def test_pack_leaves_out_what_the_target_has_and_refuses_a_large_one(benchmark, tmp_path):
    """S-26: at most 60 MB together; the message has the size of each part."""
    pack = benchmark("pack_gpu")
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name in ("ml_dtypes-0.5-cp312-cp312-x.whl", "keras-3.15-py3-none-any.whl"):
        (wheels / name).write_bytes(bytes(1000))
    pack.remove_present(wheels, ["ml-dtypes", "numpy"])
    assert [path.name for path in wheels.iterdir()] == ["keras-3.15-py3-none-any.whl"]
    (tmp_path / "run.sh").write_bytes(bytes(500))
    assert pack.sizes(tmp_path) == {"scripts": 500, "wheels": 1000}
    pack.check_size({"wheels": 20_000_000, "pixels": 40_000_000}, 60)
    with pytest.raises(InputError, match=r"at most 60 MB. Received: 60.1 MB \(wheels 20.1, pixels 40.0\)"):
        pack.check_size({"wheels": 20_100_000, "pixels": 40_000_000}, 60)


def test_pack_holds_no_test_image(benchmark, monkeypatch, tmp_path):
    """S-26: training and validation patients only; the pack is read as a dataset."""
    from tfmisr import data
    from tfmisr.data import pixel_cache, pixel_packing

    pack = benchmark("pack_gpu")
    source = tmp_path / "all"
    _pack_of(source, data, pixel_packing)
    assert data.load(str(source)).splits == ["train", "validation", "test"]
    arguments = pack.make_parser().parse_args(["--dataset", str(source)])
    assert pack.pixels(arguments, tmp_path / "packed", 5.0) == {"train": 3, "validation": 1}
    packed = data.load(str(tmp_path / "packed"))
    assert packed.splits == ["train", "validation"] and not (tmp_path / "packed" / "test").exists()
    assert pixel_cache.cache_of(packed, "train").ids == ["train_0", "train_1", "train_2"]
    with pytest.raises(InputError, match="expected at least 1 MB for images, found 0.5"):
        pack.pixels(arguments, tmp_path / "none", 0.5)


def _pack_of(folder, data, pixel_packing):
    """Writes a pixel cache of three, one and two images, from caches without a dataset behind them."""
    import types

    builder = types.SimpleNamespace(builder_config=None, builder_configs={}, info=None)
    source = types.SimpleNamespace(
        builder=builder,
        name="radiographs",
        prepared="radiographs",
        folder=folder.with_name("1.0.0"),
        pixels=folder.with_name("1.0.0") / "tfmisr_pixels",
        counts={"train": 3, "validation": 1, "test": 2},
        channels=1,
        dtype=np.dtype(np.uint8),
        full_scale="",
        splits=["train", "validation", "test"],
    )
    rng = np.random.default_rng(0)

    def examples(split):
        for i in range(source.counts[split]):
            hr = rng.integers(0, 256, (32, 32, 1), np.uint8)
            yield {"hr": hr, "max_val": 255, "id": f"{split}_{i}", "patient": i}

    source.examples = examples
    pixel_packing.pack(source, folder)


def test_one_run_gives_the_network_of_its_last_step_and_the_average(benchmark, tiny_source, tmp_path):
    """Issue 19: averaging does not change a training, so its last step is that of the same run without an average."""
    fields = {"dataset": "tiny", "model": "cnn5/num_filters=4", "scale": 2, "steps": 6, "batch_size": 2}
    fields |= {"patch_size": 8, "save_every": 3, "validate_every": 6}
    plain = loop.train(config.Config(**fields, workdir=str(tmp_path / "plain")), tiny_source)
    loop.train(config.Config(**fields, ema_decay=0.9, workdir=str(tmp_path / "paper_cnn5")), tiny_source)
    table = benchmark("paper_table")
    table.both_arms(tmp_path / "paper_cnn5", tmp_path)
    last, average = (models.load(tmp_path / f"paper_cnn5{end}.keras").get_weights() for end in ("", table.AVERAGED))
    for expected, found in zip(models.load(plain).get_weights(), last, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert any(np.abs(a - b).max() > 1e-6 for a, b in zip(last, average, strict=True))


def test_trained_networks_of_the_paper_are_evaluated_without_training(benchmark, monkeypatch, tmp_path):
    """S-26: what `--train paper_cnn paper_gan` leaves; a row of the paper belongs to a file by its name."""
    import types

    table = benchmark("paper_table")
    for name in ("paper_gan.keras", "other.keras"):
        (tmp_path / name).write_bytes(b"")
    commands = []
    monkeypatch.setattr(table, "run", lambda *command: commands.append(command))
    arguments = types.SimpleNamespace(trained=tmp_path, output=tmp_path / "output")
    for split in ("validation", "test"):
        (tmp_path / "output" / split).mkdir(parents=True)
        (tmp_path / "output" / split / "metrics.json").write_text("{}")
    table.evaluate(arguments, [])
    assert [command[0] for command in commands] == ["evaluate", "evaluate"]
    assert commands[0][1:6] == (*table.INTERPOLATIONS, tmp_path / "paper_gan.keras")
    row = {"parameters": 1, "psnr": 1.0, "ssim": 1.0, "psnr_center": 1.0}
    row |= {"psnr_gain": 0.0, "psnr_gain_low": 0.0, "psnr_gain_high": 0.0}
    split = {"models": {"folder/paper_gan.keras": row}, "protocol": {"images": 1, "hash": "0"}}
    assert "| 30.12 / 0.85 | 29.75 / 0.84 |" in table.table({"validation": split, "test": split}, 20000)
