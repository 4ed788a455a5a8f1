"""python -m tfmisr.fit from a folder of images to its table, and every mistake on the way."""

import csv
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from synthetic import ArraySource, smooth_images

from tfmisr import data, evaluate, fit
from tfmisr.edge import images
from tfmisr.edge.errors import InputError

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHORT = ["--scale", "2", "--patch_size", "8", "--batch_size", "4", "--steps", "6", "--save_every", "3"]
SHORT += ["--validate_every", "6"]


def folder_of(path, count=20, side=64, channels=1, dtype=np.uint8):
    """Writes `count` images, two a patient, each patient in a sub-folder."""
    factor = 257 if dtype == np.uint16 else 1
    for i, image in enumerate(smooth_images(count, side, 3)):
        pixels = (image.astype(dtype) * factor).repeat(channels, 2)
        if channels == 3:
            pixels[..., 1] //= 2
        target = path / f"patient{i // 2:02d}" / f"{i}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        images.write_image(target, pixels, np.iinfo(dtype).max)
    return path


def run(tmp_path, dataset, *flags):
    arguments = ["--dataset", str(dataset), "--data_dir", str(tmp_path / "data"), "--workdir", str(tmp_path / "run")]
    return fit.main([*arguments, *SHORT, *flags])


@pytest.mark.parametrize("channels,dtype", [(1, np.uint8), (1, np.uint16), (3, np.uint8)])
def test_folder_of_images_becomes_a_judged_run(tmp_path, capsys, channels, dtype):
    workdir, ended = tmp_path / "run", subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (workdir / "checkpoints").mkdir(parents=True)
    (workdir / "checkpoints" / f".{ended.pid}.step-00000003.npz").write_bytes(b"left by a killed run")
    run(tmp_path, folder_of(tmp_path / "scans", channels=channels, dtype=dtype))
    assert all(path.name.startswith("step-") for path in (workdir / "checkpoints").iterdir())
    expected = {
        "config.json",
        "environment.json",
        "history.csv",
        "model.keras",
        "checkpoints",
        "tensorboard",
        "evaluation",
    }
    assert expected == {path.name for path in workdir.iterdir()}
    metrics = json.loads((workdir / "evaluation" / "metrics.json").read_text())
    assert list(metrics["models"]) == ["nearest", "bilinear", "bicubic", "lanczos", "run"]
    said = capsys.readouterr()
    assert "images of" in said.out and "PSNR [dB]" in said.out and "montage.png" in said.out
    assert "ownload" not in said.out  # TFDS would call a folder's first use so
    # no bars where there is no terminal
    (line,) = (line for line in said.err.splitlines() if not line.startswith("warning: "))
    assert line.startswith("image_folder: 20 images of 10 patients")


def test_evaluate_reads_everything_from_the_run_and_merges_only_its_own_protocol(tmp_path, capsys):
    run(tmp_path, folder_of(tmp_path / "scans"))
    workdir, other = str(tmp_path / "run"), str(tmp_path / "other")
    evaluate.main([workdir])
    flags = ["--dataset", str(tmp_path / "scans"), "--data_dir", str(tmp_path / "data"), "--scale", "2"]
    evaluate.main(["nearest", *flags, "--output", other])
    merged = str(pathlib.Path(other) / "metrics.json")
    evaluate.main([workdir, "--merge", merged, "--output", str(tmp_path / "both")])
    both = json.loads((tmp_path / "both" / "metrics.json").read_text())
    assert list(both["models"]) == ["bicubic", "nearest", "run"]
    with pytest.raises(InputError, match="another protocol: crop_border is 2 there and 7 here"):
        evaluate.main([workdir, "--crop_border", "7", "--merge", merged, "--output", str(tmp_path / "never")])
    assert not (tmp_path / "never").exists()


def test_evaluation_on_training_images_is_warned_of(tmp_path, capsys):
    run(tmp_path, folder_of(tmp_path / "scans"))
    for split, warned in (("test", False), ("train", True), ("all", True)):
        capsys.readouterr()
        evaluate.main(
            [str(tmp_path / "run"), "--split", split, "--measures", "psnr", "--output", str(tmp_path / split)]
        )
        assert ("do not generalize to new patients" in capsys.readouterr().err) is warned


def test_split_without_images_is_refused_by_name(tmp_path):
    run(tmp_path, folder_of(tmp_path / "scans"))
    with pytest.raises(SystemExit):
        evaluate.main([str(tmp_path / "run"), "--split", "dev"])


def broken_png(path):
    folder_of(path)
    for i in range(3):
        (path / f"broken{i}.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")


def mixed_channels(path):
    folder_of(path)
    folder_of(path / "colour", count=2, channels=3)


def too_small(path):
    folder_of(path, side=40)


def empty(path):
    path.mkdir()


@pytest.mark.parametrize(
    "make,flags,message",
    [
        (broken_png, (), "broken"),
        (mixed_channels, (), "all gray or all in color"),
        (too_small, ("--patch_size", "32"), "images must be at least 64x64"),
        (empty, (), "found none"),
    ],
)
def test_bad_input_is_told_in_one_line(tmp_path, make, flags, message):
    make(tmp_path / "scans")
    with pytest.raises(InputError) as error:
        run(tmp_path, tmp_path / "scans", *flags)
    assert message in str(error.value)
    assert not (tmp_path / "run").exists()


def command(tmp_path, *flags):
    arguments = ["--dataset", str(tmp_path / "scans"), "--data_dir", str(tmp_path / "data"), *SHORT, *flags]
    return [sys.executable, "-m", "tfmisr.fit", *arguments, "--workdir", str(tmp_path / "run")]


@pytest.fixture
def sources(monkeypatch, tmp_path):
    """Returns a function that gives a run these images, by split."""

    def give(**images):
        source = ArraySource(tmp_path / str(len(images)), images)
        monkeypatch.setattr(data, "load", lambda *_: source)

    return give


def blank(count):
    return [np.full((64, 64, 1), 40 * i, np.uint8) for i in range(count)]


def test_blank_images_are_left_out_of_what_a_run_is_watched_and_judged_by(sources, tmp_path, capsys):
    sources(
        train=[*smooth_images(4, 64, 0), *blank(2)],
        validation=[*smooth_images(2, 64, 1), *blank(1)],
        test=[*smooth_images(1, 64, 2), *blank(1)],
    )
    run(tmp_path, "arrays")
    said = capsys.readouterr()
    assert "run against bicubic" in said.out and "dB on 1 image of 1 patient, at least 5 needed" in said.out
    told = "warning: 1 of 2 images left out of psnr and psnr_center: "
    assert told + "reproduced exactly, as blank images are (infinite PSNR)" in said.err
    assert "warning: 2 patients: too few to evaluate a model" in said.err
    with open(tmp_path / "run" / "history.csv", newline="") as file:
        # The blank crop would have 100 dB, as the graph counts no error; the others have some 30.
        assert float(list(csv.DictReader(file))[-1]["val_psnr"]) < 50


def test_splits_that_nothing_can_be_told_from_are_warned_of(sources, tmp_path, capsys):
    sources(train=smooth_images(4, 64, 0), validation=blank(2), test=blank(1))
    run(tmp_path, "arrays")
    said = capsys.readouterr()
    for split in ("validation", "test"):
        assert f"warning: the {split} split of arrays holds only images that interpolation reproduces" in said.err
    assert "run and bicubic cannot be compared in dB" in said.out
    sources(train=smooth_images(4, 64, 0))
    run(tmp_path, "arrays", "--workdir", str(tmp_path / "other"))
    assert "warning: arrays holds no validation images; the run has no val_psnr" in capsys.readouterr().err


def test_blank_training_images_are_refused_before_anything_is_made(sources, tmp_path):
    sources(train=blank(3), test=smooth_images(1, 64, 0))
    with pytest.raises(InputError, match="expected images with detail in the train split of arrays"):
        run(tmp_path, "arrays")
    assert not (tmp_path / "run").exists()


@pytest.mark.large
def test_ctrl_c_is_one_line_and_the_command_goes_on_from_there(tmp_path):
    folder_of(tmp_path / "scans")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    flags = ("--steps", "3000", "--save_every", "5", "--validate_every", "3000")
    process = subprocess.Popen(command(tmp_path, *flags), cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    while not list((tmp_path / "run").glob("checkpoints/step-*.npz")) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130
    assert stderr.splitlines()[-1].startswith("error: interrupted; start the same command again")
    assert "Traceback" not in stderr
    done = max(int(path.stem[5:]) for path in (tmp_path / "run").glob("checkpoints/step-*.npz"))
    process = subprocess.Popen(command(tmp_path, *flags), cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    line = next(line for line in process.stdout if line.startswith("resuming"))
    process.kill()
    process.communicate()
    assert line.startswith(f"resuming from step {done} of 3000")


@pytest.mark.large
def test_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path):
    folder_of(tmp_path / "scans")
    small = tmp_path / "run"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a small file system")
    try:
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(command(tmp_path), cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 2, done.stderr
        assert f"error: no space left on the disk for {small}" in done.stderr and " MB are free" in done.stderr
        assert "Traceback" not in done.stderr
        assert not list(small.glob("checkpoints/*")) and not (small / "model.keras").exists()
    finally:
        subprocess.run(["umount", small], check=True)
