"""Packs an uncertainty head beside its model: `NAME.uncertainty.tflite`, int8, bound by the hash of the weights.

The head's card names the model's `weights_sha256`, and the model's file gets a card that names the head's. The weights
of the model, and so its hash, do not change.
"""

import argparse
import json
import pathlib

import numpy as np

import tfmisr
from tfmisr import cli
from tfmisr.edge import card as model_card
from tfmisr.edge import files, head_card, shipped, uncertainty
from tfmisr.edge.errors import InputError
from tfmisr.evaluation import outcomes

_RUN = "head.json"
_TILE = 128  # of the file's own input; the runtime resizes it
_INTERPOLATION_RADIUS = 2  # low-resolution pixels that the residual depends on


def is_head(folder: str | pathlib.Path) -> bool:
    """Returns whether a folder is the finished run of an uncertainty head."""
    return (pathlib.Path(folder).expanduser() / _RUN).is_file()


def export(arguments: argparse.Namespace) -> outcomes.Exported:
    """Writes the head, and the model with a card that names it.

    Args:
        arguments: The parsed flags: `model` is the head's run, `uncertainty_of` the model's file where that is not what
            the head was trained on.

    Raises:
        InputError: The run was trained on another model, or on one that is no `.tflite` file and none is given.
    """
    folder = pathlib.Path(arguments.model).expanduser()
    described, fields = (json.loads((folder / name).read_text(encoding="utf-8")) for name in (_RUN, "config.json"))
    path = _model_path(arguments, fields)
    model = model_card.read(path)
    _require_same(described, model, path)
    written = pathlib.Path(arguments.output).expanduser() / f"{arguments.name or path.stem}.tflite"
    head = model_card.attach(_converted(folder), _card(described, fields, model, written.stem))
    digest = model_card.check(head, uncertainty.beside(written), head_card.KIND)["weights_sha256"]
    bound = model_card.replace(path.read_bytes(), {**model, "uncertainty": {"head": {"weights_sha256": digest}}})
    cli.require_writable(written.parent)
    for file, content in ((uncertainty.beside(written), head), (written, bound)):
        with files.atomic_write(file) as temporary:
            temporary.write_bytes(content)
        print(f"{file}: {len(content) / 1000:.1f} kB")
    return outcomes.Exported(written.parent, (written, uncertainty.beside(written)), {})


def _model_path(arguments, fields) -> pathlib.Path:
    name = arguments.uncertainty_of or fields["uncertainty"]
    path = shipped.path(name) if shipped.is_name(name) else pathlib.Path(name).expanduser()
    if path.suffix != ".tflite":
        raise InputError(f"expected uncertainty_of, the .tflite file of the head's model. Received: none, and {path}")
    return path


def _require_same(described, model, path):
    """Checks that a file is the model; one that was trained as a run has another hash as a `.tflite` file."""
    trained = described["weights_sha256"]
    if described["is_tflite"] and model["weights_sha256"] != trained:
        raise InputError(
            f"the head was trained on {described['model']} with weights {trained[:12]}. Received: {path} with "
            f"{model['weights_sha256'][:12]}; train a head of it"
        )
    for name in ("scale", "channels"):
        if model[name] != described[name]:
            raise InputError(f"the head has {name} {described[name]}. Received: {path} with {model[name]}")


def _converted(folder: pathlib.Path) -> bytes:
    from tfmisr import models
    from tfmisr.export import convert

    network = models.load(folder)
    with np.load(folder / "calibration.npz") as file:
        samples = list(zip(file["patches"].astype(np.float32), file["context"], strict=True))
    return convert.to_tflite(convert.ExportedSubgraph(network, "none"), "int8", _TILE, lambda: samples)


def _card(described, fields, model, name) -> dict:
    from tfmisr.export import cards

    training = {key: fields[key] for key in cards.TRAINING_FIELDS if fields.get(key) is not None}
    training["dataset"] = cards.public_name(training["dataset"])
    return {
        "kind": head_card.KIND,
        "name": name,
        "version": tfmisr.__version__,
        "scale": described["scale"],
        "channels": described["channels"],
        "overlap": described["radius"] + _INTERPOLATION_RADIUS,
        "model_sha256": model["weights_sha256"],
        "log_range": described["log_range"],
        "context": {key: [round(value, 6) for value in values] for key, values in described["context"].items()},
        "quantile": described["quantile"],
        "parameters": described["parameters"],
        "training": {**training, **described["training"]},
        "license": model.get("license", "not stated"),
        "output": "log s, -1 to 1 over log_range; s is the size of the error as a fraction of the full scale, before "
        "calibration, as channels for depth_to_space",
    }
