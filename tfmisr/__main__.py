"""tfmisr, or python -m tfmisr: lists the commands and runs them, `tfmisr fit` as `python -m tfmisr.fit`."""

import importlib
import sys

import tfmisr
from tfmisr import cli
from tfmisr.edge.errors import InputError, hint

COMMANDS = {
    "fit": "trains a network and compares it with interpolations",
    "tune": "searches hyperparameters, on one machine or on many",
    "evaluate": "scores models and interpolations on the images of a split",
    "observe": "measures how well signals can be detected in upscaled images",
    "upscale": "upscales images: PNG, JPEG, TIFF and DICOM, files and folders",
    "volume": "makes the thick slices of a CT or MR volume thinner: DICOM series and NIfTI",
    "export": "exports a network as .tflite files with model cards, and compares them with it",
    "export.benchmark": "measures the speed of .tflite files on this machine",
    "calibrate": "calibrates a model's uncertainty on patients that it was not trained on",
    "card": "prints the model card of a .tflite file; signs and verifies files",
    "prepare": "finds or downloads a dataset, checks it and stores it by split",
    "models": "lists the networks and their cost",
    "reader_study": "runs a blinded reader study in a browser",
    "gateway": "runs a DICOM node that receives images, sends them on and adds upscaled ones",
    "dicom_check": "checks a derived DICOM image against its source",
}
OLD_COMMANDS = {"study": "reader_study"}  # of the previous release, for one more, and today's


def usage() -> str:
    """Returns the list of the commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: tfmisr COMMAND ...   (or: python -m tfmisr.COMMAND ...)",
            "",
            *lines,
            "",
            "tfmisr COMMAND --help explains a command's flags; tfmisr --version prints the version.",
        ]
    )


def call(arguments: list[str]) -> int | None:
    """Runs a command, or prints the list of commands.

    Args:
        arguments: The command and its arguments.

    Returns:
        The exit status; `None` is success.

    Raises:
        InputError: No such command.
    """
    name, *rest = arguments or ["--help"]
    if name in ("-h", "--help", "help"):
        print(usage())
        return 0
    if name == "--version":
        print(f"tfmisr {tfmisr.__version__}")
        return 0
    if name not in (*COMMANDS, *OLD_COMMANDS):
        raise InputError(f"unknown command {name}{hint(name, COMMANDS, 0.5)} (see tfmisr --help)")
    if name in OLD_COMMANDS:
        print(f"tfmisr {name} is now tfmisr {OLD_COMMANDS[name]}", file=sys.stderr)
        name = OLD_COMMANDS[name]
    module = f"tfmisr.{name}"
    sys.argv = [sys.argv[0], *rest]
    is_package = name in ("export", "gateway", "models", "reader_study")
    return importlib.import_module(f"{module}.__main__" if is_package else module).main()


def main() -> None:
    """Runs the command of `sys.argv` and exits; see `tfmisr.cli.run`."""
    cli.run(lambda: call(sys.argv[1:]))


if __name__ == "__main__":
    main()
