"""Scores any external system under the protocol of `python -m tfmisr.evaluate`, from its images or its command line.

Torch, ncnn, ONNX Runtime, a web service: whatever reads PNG files and writes PNG files takes part, with the LR images,
the metrics, the intervals and the protocol hash of our own models. First write the LR images of a split:

    python benchmarks/opponents.py prepare --scale 4 --output opponents

Run the other system on `opponents/x4/lr` so that `00000.png` of LR becomes `00000.png` of SR in a folder of its own.
Then score that folder, or let a command fill it; {lr} and {sr} in the command are the two folders:

    python benchmarks/opponents.py score --scale 4 --output opponents \
        --images VapSR=vapsr/results --command "waifu=waifu2x -i {lr} -o {sr} -s 4" \
        fast-x4 best-x4 lanczos

LR has the bit depth of the source. SR has it too, and `scale` times the height and width; an RGB image of a gray one is
converted to gray (luma of BT.601, rounded). The numbers go to `opponents/x4`, as `metrics.json`, `table.md`,
`per_image.csv` and `montage.png` of `evaluate`.

    python benchmarks/opponents.py table --output opponents

prints README's table of results with PSNR and center of both scales from these `metrics.json`, and their protocols; the
other columns stay as they are. Models and systems are found by their names; those that README lacks get a row.
"""

import argparse
import hashlib
import json
import pathlib
import shlex
import subprocess
import tempfile
from collections.abc import Iterator

import numpy as np

from tfmisr import classical, cli, data, degradations
from tfmisr.data import pipeline
from tfmisr.edge import images, shipped
from tfmisr.edge.errors import InputError
from tfmisr.edge.image_writing import write_image
from tfmisr.edge.upscaler import Upscaler, to_levels
from tfmisr.evaluation import outcomes, results, scoring
from tfmisr.inference import upscalers

SHARED = pathlib.Path(__file__).resolve().parent.parent.parent / "shared" / "data"
README = pathlib.Path(__file__).resolve().parent.parent / "README.md"
_COLUMNS = {2: "x2: PSNR", 4: "x4: PSNR"}  # of README's table; the center is to the right of each
_MEASURES = ("psnr", "psnr_center")
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_SECONDS = 24 * 3600  # of a command, for all images of a split


def _key(lr: np.ndarray) -> str:
    """Returns the hash of an LR image, float32; the same image has the same hash in `evaluate`."""
    return hashlib.sha256(f"{lr.shape}".encode() + lr.tobytes()).hexdigest()


def lr_images(source: data.Source, split: str, scale: int, degradation: degradations.Degradation) -> Iterator[tuple]:
    """Yields (file name, LR as float32 (height, width, channels) in [0, 1], full-scale value) of each image."""
    cache = pipeline.cache_of(source, split)
    for index, (_, _, max_val, lr, _) in enumerate(pipeline.pairs(cache, scale, degradation)):
        yield f"{index:05d}.png", lr, max_val


def prepare(arguments: argparse.Namespace) -> int:
    """Writes the LR images, numbered, so that no name of the dataset leaves it."""
    folder = arguments.output / f"x{arguments.scale}" / "lr"
    cli.check_writable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, lr, max_val in lr_images(*_inputs(arguments)):
        write_image(folder / name, to_levels(lr, max_val), max_val)
    print(f"{len(list(folder.iterdir()))} LR images in {folder}")
    return 0


def _inputs(arguments):
    archive = [str(SHARED / "ChestX-ray14")] if arguments.dataset.startswith("chest_xray14") else []
    source = data.load(arguments.dataset, arguments.data_dir, tuple(arguments.manual_dir or archive))
    degradation = degradations.make(arguments.scale, degradation=arguments.degradation)
    return source, arguments.split, arguments.scale, degradation


def of_folder(name: str, folder: pathlib.Path, files: dict[str, str], scale: int) -> Upscaler:
    """Returns a system as an upscaler: the SR image in `folder` of the LR image that it is called with.

    Args:
        name: Name in the table.
        folder: Its SR images.
        files: Hash of an LR image to the name of its file.
        scale: Upsampling factor.

    Raises:
        InputError: SR images are missing.
    """
    missing = sorted(file for file in files.values() if not (folder / file).is_file())
    if missing:
        raise InputError(
            f"{name}: expected one SR image for each of {len(files)} LR images in {folder}. Received: none for "
            f"{len(missing)} of them, as {missing[0]}; run the system on all images that `prepare` wrote"
        )

    def upscale(lr, scale, convert, dtype):
        return _sr(name, folder / files[_key(lr)], lr.shape, scale, dtype)

    return Upscaler(name, upscale, scale=scale)


def _sr(name, path, shape, scale, dtype):
    image = images.read_images(path)[0].pixels
    if image.shape[2] == 3 and shape[2] == 1:
        image = np.rint(image @ _LUMA).astype(image.dtype)[..., None]
    expected = (shape[0] * scale, shape[1] * scale, shape[2])
    if image.shape != expected or image.dtype != dtype:
        raise InputError(
            f"{name}: expected {path.name} of {expected}, {np.dtype(dtype)}. Received: {image.shape}, {image.dtype}"
        )
    return image


def run(name: str, command: str, lr: pathlib.Path, sr: pathlib.Path) -> None:
    """Runs a command line, without a shell, with {lr} and {sr} replaced by the two folders.

    Raises:
        InputError: It cannot be started, or ends with another status than 0.
    """
    words = [word.replace("{lr}", str(lr)).replace("{sr}", str(sr)) for word in shlex.split(command)]
    try:
        subprocess.run(words, check=True, timeout=_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        raise InputError(f"{name}: {error}") from error


def score(arguments: argparse.Namespace) -> int:
    """Scores the systems beside bicubic and models of tfmisr."""
    source, split, scale, degradation = _inputs(arguments)
    named = {flag: [_named(text) for text in getattr(arguments, flag)] for flag in ("images", "command")}
    files = {_key(lr): name for name, lr, _ in lr_images(source, split, scale, degradation)}
    with tempfile.TemporaryDirectory() as temporary:
        folders = [(name, pathlib.Path(text)) for name, text in named["images"]]
        lr = arguments.output / f"x{scale}" / "lr"
        for i, (name, command) in enumerate(named["command"]):
            folders.append((name, pathlib.Path(temporary) / str(i)))
            folders[-1][1].mkdir()
            run(name, command, lr, folders[-1][1])
        systems = [of_folder(name, folder, files, scale) for name, folder in folders]
        ours = [classical.create(name) or upscalers.load(name) for name in arguments.models]
        methods = [upscalers.load(scoring.REFERENCE), *ours, *systems]
        result = scoring.evaluate(methods, source, split, scale, degradation)
    folder = arguments.output / f"x{scale}"
    print(outcomes.Evaluation(folder, results.write(result, folder)))
    return 0


def _named(text):
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise InputError(f"expected NAME=FOLDER or NAME=COMMAND. Received: {text}")
    return name, value


def table(arguments: argparse.Namespace) -> int:
    """Prints README's table of results with the scores of both scales, and their protocols."""
    metrics = {scale: _metrics(arguments.output / f"x{scale}" / "metrics.json", scale) for scale in _COLUMNS}
    print(readme_table(README.read_text(), {scale: content["models"] for scale, content in metrics.items()}))
    hashes = (f"x{scale} `{content['protocol']['hash']}`" for scale, content in metrics.items())
    print(f"\nProtocols: {', '.join(hashes)}.")
    return 0


def _metrics(path, scale):
    if not path.is_file():
        raise InputError(f"expected {path}. Received: none; run the step score with --scale {scale} first")
    return json.loads(path.read_text())


def readme_table(text: str, scores: dict[int, dict[str, dict]]) -> str:
    """Returns the table of results with new scores: two decimals, the best of each column in bold.

    Args:
        text: Markdown with the table.
        scores: Scale to name to a row of `metrics.json`.

    Raises:
        InputError: The text has no such table, or a row of it has no score at a scale at which it had one.
    """
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if all(title in line for title in _COLUMNS.values())), None)
    if start is None:
        raise InputError(f"expected a table with the columns {', '.join(_COLUMNS.values())}. Received: none")
    stop = next((i for i in range(start, len(lines)) if not lines[i].startswith("|")), len(lines))
    head, _, *rows = (_cells(line) for line in lines[start:stop])
    listed = {name for row in rows for name in _names(row)}
    further = dict.fromkeys(name for models in scores.values() for name in models if name not in listed)
    rows += [[f"`{name}`" if shipped.is_name(name) else name, *[""] * (len(head) - 1)] for name in further]
    for scale, title in _COLUMNS.items():
        for offset, measure in enumerate(_MEASURES):
            _fill(rows, head.index(title) + offset, scores[scale], measure, f"x{scale}")
    return "\n".join([*lines[start : start + 2], *map(_line, rows)])


def _line(row) -> str:
    return f"|{'|'.join(f' {cell} ' if cell else ' ' for cell in row)}|"


def _cells(line) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def _names(row) -> list[str]:
    return [name.strip("` ") for name in row[0].split(",")]


def _fill(rows, column, models, measure, where):
    found = [[models[name][measure] for name in _names(row) if name in models] for row in rows]
    best = max(value for values in found for value in values)
    for row, values in zip(rows, found, strict=True):
        if len(values) != 1 and (values or row[column]):
            raise InputError(f"expected one score of {row[0]} at {where}. Received: {len(values)}; score it there")
        if values:
            row[column] = f"**{values[0]:.2f}**" if values[0] == best else f"{values[0]:.2f}"


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of all steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("prepare", "score", "table"))
    parser.add_argument("models", nargs="*", help="models of tfmisr and interpolations to score beside them")
    parser.add_argument("--images", action="append", default=[], metavar="NAME=FOLDER", help="SR images of a system")
    parser.add_argument(
        "--command", action="append", default=[], metavar="NAME=COMMAND", help="a system's command line"
    )
    parser.add_argument("--scale", type=int, default=4, choices=(2, 3, 4, 8))
    parser.add_argument("--dataset", default="chest_xray14/512")
    parser.add_argument("--manual_dir", action="append", help="folder of the archive (default: that of shared/data)")
    parser.add_argument("--data_dir", help="where prepared datasets are kept")
    parser.add_argument("--split", default="test", choices=("validation", "test"))
    parser.add_argument("--degradation", default="bicubic(rounding=pillow8)")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/opponents"))
    return parser


def main(argv: list[str] | None = None) -> int:
    """Runs one step."""
    arguments = make_parser().parse_intermixed_args(argv)
    return {"prepare": prepare, "score": score, "table": table}[arguments.step](arguments)


if __name__ == "__main__":
    cli.run(main)
