"""What users see of every command: help at once, one line for a mistake, the right exit status."""

import errno
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from tfmisr import cli
from tfmisr.edge import files, stderr_filter
from tfmisr.edge.errors import InputError, Terminated

ROOT = pathlib.Path(__file__).resolve().parent.parent
COMMANDS = (
    "fit",
    "tune",
    "evaluate",
    "upscale",
    "volume",
    "prepare",
    "export",
    "export.benchmark",
    "dicom_check",
    "card",
    "calibrate",
)


def call(*arguments, **environment) -> subprocess.CompletedProcess:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_comes_without_tensorflow(command):
    script = (
        "import sys, runpy; sys.argv = ['x', '--help']\n"
        f"try: runpy.run_module('tfmisr.{command}', run_name='__main__')\n"
        "except SystemExit as error: assert not error.code\n"
        "assert not {'tensorflow', 'keras', 'tensorflow_datasets', 'scipy', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"python -m tfmisr.{command}" in done.stdout


def test_edge_imports_neither_tensorflow_nor_the_rest_of_the_package():
    script = (
        "import pkgutil, importlib, sys, tfmisr.edge\n"
        "for m in pkgutil.iter_modules(tfmisr.edge.__path__): importlib.import_module('tfmisr.edge.' + m.name)\n"
        "assert not {'tensorflow', 'keras', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "ours = [m for m in sys.modules if m.startswith('tfmisr.') and not m.startswith('tfmisr.edge')]\n"
        "assert set(ours) <= {'tfmisr._moved', 'tfmisr.datasets', 'tfmisr.export'}, ours"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments,expected",
    [
        (("fit", "--model", "resnet19"), "did you mean resnet18?"),
        (("fit", "--scale", "5"), "scale must be one of 1, 2, 3, 4, 8. Received: 5"),
        (("fit", "--config", "nowhere.json"), "found none at nowhere.json"),
        (("fit", "--dataset", "./nowhere"), "expected a folder of images, found none at nowhere"),
        (("fit", "--dataset", "chest_xray15"), "did you mean chest_xray14?"),
        (("upscale", "--model", "bicubic", "nowhere.png", "--output", "x.png"), "nowhere.png, found nothing"),
        (("upscale", "--model", "runs/nothing", "tests", "--output", "x"), "expected images"),
        (("evaluate", "runs/nothing"), "Received: runs/nothing, where there is nothing"),
        (("fit", "--preset", "Fast-X2"), "did you mean fast_x2?"),
        (("fit", "--degradation", "xrray(photons=9)"), "did you mean xray?"),
        (("fit", "--degradation", "xray(fotons=9)"), "did you mean photons?"),
        (
            ("fit", "--stpes", "5"),
            "error: unknown flag --stpes; did you mean --steps? (see python -m tfmisr.fit --help)",
        ),
        (
            ("upscale", "--modle", "bicubic", "a.png", "--output", "b.png"),
            "unknown flag --modle; did you mean --model?",
        ),
        (("upscale", "a.png"), "the following arguments are required: --model, --output (see"),
        (("evaluate", "bicubic", "--split", "tset"), "did you mean test?"),
        (("reader_study", "analize", "x"), "did you mean analyze?"),
        (("study", "build", "x", "--outptu", "y"), "unknown flag --outptu; did you mean --output?"),
        (("export", "best-x4", "--output", "x"), "a .tflite file already: "),
        (("export", "best-x4"), "a .tflite file already: "),
        (("export", "fast_x4"), "Received: fast_x4, where there is nothing"),
        (("export", "tests"), "the following arguments are required: --output (see"),
        (("evaluate", "bicubic", "--scale", "7"), "scale must be 2, 3, 4 or 8. Received: 7"),
        (("evaluate", "bicubic", "--scale", "0"), "scale must be 2, 3, 4 or 8. Received: 0"),
        (("evaluate", "bicubic", "--blur_sigma", "nan"), "blur_sigma must be a number, 0 or more. Received: nan"),
        (("evaluate", "bicubic", "--measures", "psnr,lpips_alec"), "did you mean lpips_alex?"),
    ],
)
def test_mistake_is_one_line_and_exit_status_2(arguments, expected, tmp_path):
    if arguments[0] == "fit":
        arguments = (*arguments, "--workdir", tmp_path / "run", "--data_dir", tmp_path)
    done = call(f"tfmisr.{arguments[0]}", *arguments[1:])
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and expected in lines[0]
    assert "Traceback" not in done.stderr and "usage:" not in done.stderr


def test_mistake_after_loading_tensorflow_is_all_that_stands_on_stderr(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    command = [sys.executable, "-m", "tfmisr.fit", "--model", "cnn5/large", "--workdir", tmp_path / "run"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: variant of cnn5 must be")


def test_run_that_cannot_begin_leaves_no_folder(tmp_path):
    done = call("tfmisr.fit", "--dataset", tmp_path / "nowhere", "--workdir", tmp_path / "run", "--data_dir", tmp_path)
    assert done.returncode == 2
    assert not (tmp_path / "run").exists()


def test_picture_to_dicom_is_told_what_is_needed(tmp_path):
    Image.new("L", (40, 40)).save(tmp_path / "a.png")
    done = call("tfmisr.upscale", "--model", "bicubic", tmp_path / "a.png", "--output", tmp_path / "a.dcm")
    assert done.returncode == 2
    assert "a DICOM image as input" in done.stderr and not (tmp_path / "a.dcm").exists()


def test_unwritable_workdir_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    done = call("tfmisr.fit", "--workdir", tmp_path / "file" / "run")
    assert done.returncode == 2
    assert done.stderr.startswith("error: expected a writable folder at")


@pytest.mark.parametrize(
    "error,status,text",
    [
        (InputError("a\nb"), 2, "error: a b"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (Terminated("stopped by SIGTERM at step 6"), 143, "stopped by SIGTERM at step 6; start the same command"),
        (OSError(28, "No space left on device", "x.bin"), 2, "no space left on the disk for x.bin: "),
        (OSError(28, "No space left on device"), 2, "no space left on the disk; free some"),
        (NotADirectoryError(20, "Not a directory", "x/y"), 2, "expected another path (x/y): Not a directory"),
        (FileExistsError(17, "File exists", "x"), 2, "expected another path (x): File exists"),
        (PermissionError(13, "Permission denied", "x.bin"), 2, "not permitted (x.bin)"),
        (ModuleNotFoundError("No module named 'keras'", name="keras"), 2, "pip install 'tfmisr[train]'"),
        (ModuleNotFoundError("", name="tensorflow_io.image"), 2, "pip install 'tfmisr[train,tfio]'"),
        (
            ModuleNotFoundError("", name="jax.numpy"),
            2,
            "KERAS_BACKEND=jax needs JAX. Run: pip install 'tfmisr[jax]' or",
        ),
        (ModuleNotFoundError("", name="torch"), 2, "expected KERAS_BACKEND=tensorflow or jax"),
        (ValueError("Unable to import backend : theano"), 2, "KERAS_BACKEND=tensorflow or jax. Received: theano"),
    ],
)
def test_exit_status_by_kind_of_error(error, status, text, capsys, monkeypatch):
    monkeypatch.setattr(cli, "_INTERRUPTED", [])

    def main():
        raise error

    with pytest.raises(SystemExit) as exit_:
        cli.run(main)
    assert exit_.value.code == status
    assert text in capsys.readouterr().err


@pytest.mark.parametrize("kind", [ZeroDivisionError, ValueError])
def test_a_bug_keeps_its_traceback(kind):
    def main():
        raise kind

    with pytest.raises(kind):
        cli.run(main)


def test_output_that_cannot_be_a_folder_is_refused_before_the_work_and_nothing_is_made(tmp_path):
    (tmp_path / "file").write_text("")
    for wrong in ("file", "file/deeper/still"):
        with pytest.raises(InputError, match="expected a writable folder at .*; choose another"):
            cli.check_writable(tmp_path / wrong)
    if pathlib.Path("/proc/self").is_dir():  # root may write there by its permissions, and nothing can be created
        with pytest.raises(InputError, match="expected a writable folder at /proc/x.*; choose another"):
            cli.check_writable("/proc/x/y")
    cli.check_writable(tmp_path / "new" / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_reader_who_has_enough_is_no_error():
    command = [sys.executable, "-m", "tfmisr.models"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, cwd=ROOT, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_tflite_file_runs_without_a_word_of_its_delegate(tmp_path):
    Image.new("L", (40, 40)).save(tmp_path / "a.png")
    flags = ("--output", tmp_path / "b.png", "--force")  # a black image is out of the model's scope
    done = call("tfmisr.upscale", "--model", "fast-x2", tmp_path / "a.png", *flags)
    assert done.returncode == 0 and all(line.startswith("warning: ") for line in done.stderr.splitlines())


def test_what_is_no_noise_comes_through(capfd):
    with stderr_filter.filter_stderr():
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\nuseful\n")
    assert capfd.readouterr().err == "useful\n"


def test_upscalers_are_imported_without_tensorflow():
    script = "import sys, tfmisr.inference.upscalers; assert not {'tensorflow', 'keras'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_is_told_with_the_path_and_what_is_free(tmp_path, capsys, monkeypatch, code):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=2_345_678))

    def main():
        with files.atomic_write(tmp_path / "x.bin"):
            raise OSError(code, os.strerror(code))  # as write() raises it, without a name

    with pytest.raises(SystemExit) as exit_:
        cli.run(main)
    said = capsys.readouterr().err
    assert exit_.value.code == 2
    assert said.startswith(f"error: no space left on the disk for {tmp_path / 'x.bin'}: 2.3 MB are free; free some")
    assert not list(tmp_path.iterdir())


def test_file_beyond_a_limit_is_told_with_its_path(tmp_path, capsys):
    def main():
        with files.atomic_write(tmp_path / "x.bin"):
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))

    with pytest.raises(SystemExit) as exit_:
        cli.run(main)
    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: file too large ({tmp_path / 'x.bin'}): the file system or a")
