"""Packs what a GPU machine with JAX, but without TensorFlow and network access, needs to run `benchmarks/gpu.py`.

The pack holds wheels of tfmisr, Keras and what they need for the Python of that machine, images of the training and the
validation split (never of the test split) without loss, initial weights, and run.sh. Its size is limited, and printed.

    python benchmarks/pack_gpu.py --manual_dir /archive/ChestX-ray14 --python 3.12 --output pack
    bash pack/run.sh bench

`--present` names what that machine has already; by default what JAX itself brings.
"""

import argparse
import hashlib
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from tfmisr import cli
from tfmisr.edge.errors import InputError

ROOT = pathlib.Path(__file__).resolve().parent.parent
SCRIPTS = ("gpu.py", "gpu_device.py", "gpu_steps.py", "gpu_train.py", "gpu_state.py")
# JAX and what it requires; LiteRT and what it requires: it runs .tflite files, which is no part of training.
PRESENT = (
    *("jax", "jaxlib", "numpy", "scipy", "ml-dtypes", "opt-einsum"),
    *("ai-edge-litert", "backports-strenum", "flatbuffers", "protobuf"),
)
SPLITS = ("train", "validation")  # never test: nothing is trained or tuned on it
_SCRIPTS_MB = 0.2  # of the scripts and the list of all files
INITIAL = ("fast-x4",)  # as benchmarks/gpu_train.py


def make_parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("pack"), help="new folder")
    parser.add_argument(
        "--dataset", default="chest_xray14/512", help="dataset, or pixel cache, whose images are packed"
    )
    parser.add_argument("--manual_dir", nargs="+", default=[], help="folders with the dataset's source files")
    parser.add_argument("--data_dir", help="folder of prepared datasets")
    parser.add_argument("--python", default="3.12", help="Python version of the target")
    parser.add_argument("--abi", help="its ABI (default: cp and the version)")
    parser.add_argument(
        "--platform", nargs="+", default=["manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64"]
    )
    parser.add_argument("--present", nargs="*", default=list(PRESENT), help="packages that the target has")
    parser.add_argument(
        "--cache_mb",
        type=float,
        default=45.0,
        help="limit of the images, in MB; fewer where the pack would be too large",
    )
    parser.add_argument("--limit_mb", type=float, default=60.0, help="limit of the whole pack, in MB")
    return parser


def build_wheel(folder: pathlib.Path) -> pathlib.Path:
    """Builds tfmisr's wheel from a copy of the tracked files, so that nothing is left in the checkout."""
    with tempfile.TemporaryDirectory() as temporary:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
        for name in filter(None, listed.decode().split("\0")):
            place = pathlib.Path(temporary, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, place)
        pip("wheel", "-q", "--no-deps", "-w", folder, temporary)
    return next(folder.glob("tfmisr-*.whl"))


def pip(*arguments) -> None:
    """Runs pip.

    Raises:
        InputError: It failed; what it printed is above.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    if subprocess.run(command, check=False).returncode:
        raise InputError(f"pip {arguments[0]} failed: no wheel for this --python, --abi and --platform, or no network")


def download_command(arguments: argparse.Namespace, wheel: pathlib.Path, folder: pathlib.Path) -> list[str]:
    """Returns the arguments of pip that download a wheel with all it needs, and Keras, for the target."""
    abi = arguments.abi or "cp" + arguments.python.replace(".", "")
    target = ["--only-binary=:all:", "--implementation", "cp", "--python-version", arguments.python]
    for each in dict.fromkeys([abi, "abi3", "none"]):
        target += ["--abi", each]
    for platform in arguments.platform:
        target += ["--platform", platform]
    return ["download", "-q", *target, "-d", str(folder), str(wheel), "keras>=3.12,<4"]


def normalized(name: str) -> str:
    """Returns a package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def remove_present(folder: pathlib.Path, present: list[str]) -> None:
    """Deletes the wheels of packages that the target has."""
    names = set(map(normalized, present))
    for path in folder.glob("*.whl"):
        if normalized(path.name.partition("-")[0]) in names:
            path.unlink()


def initial_weights(folder: pathlib.Path) -> None:
    """Writes the weights of shipped models as `.keras` files, since reading `.tflite` files takes TensorFlow."""
    from tfmisr.edge import shipped
    from tfmisr.training import tflite_weights

    folder.mkdir()
    for name in INITIAL:
        tflite_weights.network(shipped.path(name)).save(folder / f"{name}.keras")


def pixels(arguments: argparse.Namespace, folder: pathlib.Path, limit_mb: float) -> dict[str, int]:
    """Packs the images of the training and the validation split; returns split to number of images.

    Args:
        arguments: The command line.
        folder: Folder to make.
        limit_mb: Limit of its size; images are left out, evenly over the patients.

    Raises:
        InputError: The dataset cannot be prepared, or holds no training images.
    """
    if limit_mb < 1:
        raise InputError(
            f"expected at least 1 MB for images, found {limit_mb:.1f}: raise --limit_mb, or name more packages that "
            "the target has by --present"
        )
    from tfmisr import data
    from tfmisr.data import pixel_packing

    source = data.load(arguments.dataset, arguments.data_dir, tuple(arguments.manual_dir))
    source.splits = [split for split in source.splits if split in SPLITS]
    if isinstance(source, data.CachedSource):
        source.description = {**source.description, "all_splits": source.splits}
    if "train" not in source.splits:
        raise InputError(f"expected a train split in {source.name}, found none: nothing to train on")
    return pixel_packing.pack(source, folder, limit_mb)


def sizes(folder: pathlib.Path) -> dict[str, int]:
    """Returns the bytes of each part of the pack: its folders, and its files together as `scripts`."""
    found = {}
    for path in (p for p in sorted(folder.rglob("*")) if p.is_file()):
        parts = path.relative_to(folder).parts
        key = parts[0] if len(parts) > 1 else "scripts"
        found[key] = found.get(key, 0) + path.stat().st_size
    return found


def check_size(parts: dict[str, int], limit_mb: float) -> None:
    """Checks the size of the whole pack.

    Raises:
        InputError: It is over the limit; the message has the size of each part.
    """
    total = sum(parts.values())
    if total > 1e6 * limit_mb:
        each = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in parts.items())
        raise InputError(
            f"expected a pack of at most {limit_mb:g} MB. Received: {total / 1e6:.1f} MB ({each}); reduce --cache_mb, "
            "or name more packages that the target has by --present"
        )


def main(argv: list[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    arguments = make_parser().parse_args(argv)
    if arguments.output.exists():
        raise InputError(f"{arguments.output} is there already; give another --output")
    with tempfile.TemporaryDirectory(dir=arguments.output.absolute().parent, prefix=".pack-") as temporary:
        pack = pathlib.Path(temporary, "pack")
        wheels = pack / "wheels"
        wheels.mkdir(parents=True)
        pip(*download_command(arguments, build_wheel(pathlib.Path(temporary)), wheels))
        remove_present(wheels, arguments.present)
        initial_weights(pack / "initial")
        left = arguments.limit_mb - sum(sizes(pack).values()) / 1e6 - _SCRIPTS_MB
        counts = pixels(arguments, pack / "pixels", min(arguments.cache_mb, left))
        for name in SCRIPTS:
            shutil.copyfile(ROOT / "benchmarks" / name, pack / name)
        shutil.copyfile(ROOT / "benchmarks" / "gpu_run.sh", pack / "run.sh")
        _manifest(pack, arguments, counts)
        parts = sizes(pack)
        check_size(parts, arguments.limit_mb)
        pack.rename(arguments.output)
    print("\n".join(f"{size / 1e6:8.2f} MB  {name}" for name, size in parts.items()))
    print(f"{sum(parts.values()) / 1e6:8.2f} MB  of {arguments.limit_mb:g}; images: {counts}")
    return 0


def _manifest(pack, arguments, counts) -> None:
    files = {
        str(path.relative_to(pack)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(pack.rglob("*"))
        if path.is_file()
    }
    target = {"python": arguments.python, "platform": arguments.platform, "present": arguments.present}
    text = json.dumps({"target": target, "images": counts, "sha256": files}, indent=1)
    (pack / "pack.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    cli.run(main)
