"""Files and folders of any name: no valid UTF-8, as long as file systems allow, in terminals without such letters."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tfmisr import cli, config, data, evaluate, fit, tune, upscale
from tfmisr.datasets.image_folder import patients, scan
from tfmisr.edge import errors, files, images, shipped
from tfmisr.inference import upscalers

ROOT = pathlib.Path(__file__).resolve().parent.parent
LATIN, SHIFT_JIS = os.fsdecode("Müller".encode("latin-1")), os.fsdecode("患者".encode("shift_jis"))
needs_bytes = pytest.mark.skipif(sys.platform != "linux", reason="other systems have names of Unicode alone")


def split_by_hand(name: bytes) -> str:
    """The first 12 hexadecimal digits of SHA-256, modulo 10,000: 80, 10 and 10 per cent."""
    point = int(hashlib.sha256(name).hexdigest()[:12], 16) % 10_000
    return "train" if point < 8000 else "validation" if point < 9000 else "test"


@pytest.mark.parametrize("name", ["id:1", "folder:Müller", "file:患者/1.png", f"folder:{LATIN}", f"folder:{SHIFT_JIS}"])
def test_split_is_that_of_the_bytes_on_the_disk(name):
    expected = split_by_hand(name.encode("utf-8", "surrogateescape"))
    assert data.split_of(name, data.SPLIT_PERCENT) == expected
    assert set(patients.splits([name]).values()) == {"test"}  # the only patient


def test_fingerprint_of_valid_names_stays(tmp_path):
    found = [scan.File(tmp_path, "Müller/1.png", 7, 9)]
    expected = hashlib.sha256("Müller/1.png\0".encode() + b"7\x009\n" + b"(p)\0").hexdigest()[:12]
    assert scan.fingerprint(found, "(p)") == expected


@pytest.fixture
def odd(tmp_path):
    """A folder of three patients whose names, like those of the files, are no UTF-8."""
    folder = tmp_path / LATIN
    for i, name in enumerate((LATIN, SHIFT_JIS, "plain")):
        (folder / name).mkdir(parents=True)
        pixels = np.random.default_rng(i).integers(0, 256, (64, 64), np.uint8)
        Image.fromarray(pixels).save(folder / name / f"{SHIFT_JIS}.png")
    return folder


@needs_bytes
@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
)
def test_folder_is_upscaled_whatever_the_terminal_can_show(odd, tmp_path, environment):
    command = [sys.executable, "-m", "tfmisr.upscale", "--model", "bicubic", "--scale", "2", odd, "--output"]
    given = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run([*command, tmp_path / SHIFT_JIS], env=given, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert "\\udcfc" in done.stdout.decode("ascii") and b"Traceback" not in done.stderr
    written = sorted(os.fsencode(p.relative_to(tmp_path / SHIFT_JIS)) for p in (tmp_path / SHIFT_JIS).rglob("*.png"))
    assert written == sorted(os.fsencode(p.relative_to(odd)) for p in odd.rglob("*.png"))


@needs_bytes
def test_folder_is_trained_on_and_evaluated_and_the_run_has_such_a_name_too(odd, tmp_path, capsys):
    cli.prepare_output()
    workdir, results = tmp_path / SHIFT_JIS, tmp_path / f"{LATIN} found"
    flags = ["--scale", "2", "--patch_size", "8", "--batch_size", "2", "--steps", "2", "--save_every", "2"]
    flags += ["--validate_every", "2", "--data_dir", str(tmp_path / "data")]
    fit.main(["--dataset", str(odd), "--workdir", str(workdir), *flags])
    evaluate.main([str(workdir), "--measures", "psnr", "--output", str(results)])
    metrics = json.loads((results / "metrics.json").read_text(encoding="utf-8"))
    assert files.printable(SHIFT_JIS) in metrics["models"] and "\\udc8a" in files.printable(SHIFT_JIS)
    assert (results / "montage.png").is_file()
    upscale.main(["--model", str(workdir), str(odd), "--output", str(tmp_path / "out")])
    assert len(list((tmp_path / "out").rglob("*.png"))) == 3
    assert files.printable(str(workdir)) in capsys.readouterr().out


@needs_bytes
def test_tflite_file_may_have_such_a_name(tmp_path):
    path = tmp_path / f"{LATIN}.tflite"
    path.write_bytes(shipped.path("fast-x2").read_bytes())
    lr = np.random.default_rng(0).random((20, 20, 1), np.float32)
    found = upscalers.load(str(path))
    assert found.name == files.printable(LATIN)
    np.testing.assert_array_equal(found(lr, 2), upscalers.load("fast-x2")(lr, 2))


@pytest.mark.parametrize("name,meant", [("bicubik", "bicubic"), ("fats-x2+", "fast-x2"), ("Best_X4", "best-x4")])
def test_mistyped_model_gets_a_suggestion(name, meant):
    with pytest.raises(errors.InputError, match=rf"did you mean {meant}\?$"):
        upscalers.load(name)


@needs_bytes
def test_folder_that_tensorflow_cannot_write_to_is_refused_by_name(odd, tmp_path):
    with pytest.raises(errors.InputError, match=f"choose another --data_dir than .*{LATIN}"):
        data.load(str(odd), data_dir=str(tmp_path / LATIN / "data"))
    with pytest.raises(errors.InputError, match=f"choose another --workdir than .*{LATIN}"):
        tune.main(["--workdir", str(tmp_path / LATIN), "--max_trials", "1"])


def test_names_may_be_as_long_as_the_file_system_allows(tmp_path):
    long = "x" * 251
    images.write_image(tmp_path / f"{long}.png", np.zeros((16, 16, 1), np.uint8), 255)
    upscale.main(["--model", "bicubic", "--scale", "2", str(tmp_path), "--output", str(tmp_path / "out")])
    assert [path.name for path in (tmp_path / "out").glob("*.png")] == [f"{long}.png"]
    (tmp_path / long).mkdir()
    folder = config.Config(dataset=str(tmp_path / long)).folder
    assert len(folder.name) == 255 and folder.name.endswith(config.Config(dataset=str(tmp_path / long)).key)


def test_temporary_name_is_short_and_one_for_each_file(tmp_path):
    names = {files.temporary_name(tmp_path / name).name for name in ("a" * 250 + ".keras", "b.keras", "a.b" + "c" * 99)}
    assert len(names) == 3 and all(len(name) < 40 and name.startswith(f".{os.getpid()}.") for name in names)
    assert sum(name.endswith(".keras") for name in names) == 2  # savers choose by it


def test_temporary_files_of_killed_processes_go_at_the_next_start(tmp_path, monkeypatch):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    running = os.getppid()
    names = [f".{ended.pid}.step-00000003.npz", files.temporary_name(tmp_path / "b.npz", ended.pid).name]
    names += [files.temporary_name(tmp_path / "b.npz", running).name, "1.npz"]
    monkeypatch.setattr(files, "_MACHINE", "f00d" if "f00d" not in names[1] else "beef")
    names += [files.temporary_name(tmp_path / "b.npz", ended.pid).name]
    monkeypatch.undo()
    for name in names:
        (tmp_path / name).write_bytes(b"")
    os.utime(tmp_path / names[3], (0, 0))
    files.remove_orphaned_temporaries(tmp_path, tmp_path / "nowhere")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[2:])
    for name in (names[2], names[4]):  # the number belongs to another process by now
        os.utime(tmp_path / name, (0, 0))
    files.remove_orphaned_temporaries(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["1.npz"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the state of a process in /proc")
def test_temporary_files_of_a_zombie_go(tmp_path):
    """In a container process 1 may never ask how an orphan ended; then its number stays taken."""
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    os.kill(zombie.pid, 0)  # exists
    left = files.temporary_name(tmp_path / "b.npz", zombie.pid)
    left.write_bytes(b"")
    files.remove_orphaned_temporaries(tmp_path)
    zombie.wait()
    assert not left.exists()


@pytest.mark.parametrize(
    "name",
    [".1.png.icloud", ".1.png.Xy12Zq", ".7.txt.swp", ".2024.notes.txt", ".1.2.840.10008.dcm.Xy12Zq", ".20240101.dcm"],
)
def test_hidden_files_of_others_stay(name, tmp_path):
    (tmp_path / name).write_bytes(b"")  # of iCloud, rsync, vim, a person: `upscale` writes to any folder
    os.utime(tmp_path / name, (0, 0))
    files.remove_orphaned_temporaries(tmp_path)
    assert (tmp_path / name).exists()
