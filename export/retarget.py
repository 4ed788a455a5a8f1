"""Makes files for accelerators: from what the converter wrote, or from an int8 file without its Keras network."""

import argparse
import json
import pathlib

import numpy as np

from tfmisr import cli
from tfmisr.config import initial_weights
from tfmisr.edge import card as model_card
from tfmisr.edge import files, runtime, shipped
from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import plane_model
from tfmisr.export import pixel_shuffle, targets
from tfmisr.quantization import tflite_schema

TILE = 128  # side of windows in low-resolution pixels where none is given; more where the receptive field is large


def retargeted(content: bytes, card: dict, target: str) -> tuple[bytes, dict]:
    """Returns an int8 file of one size with only operators of an accelerator, and its card; the pixels are the same.

    Args:
        content: A `.tflite` file without a card.
        card: The card's fields.
        target: One of `tfmisr.export.targets.TARGETS`.

    Raises:
        InputError: The network has an operator that the accelerator lacks, or no fixed size.
    """
    if card["tile"] is None:
        raise InputError(
            f"--target {target} needs a network of limited receptive field. Received: one that sees the whole image"
        )
    content, shuffle = pixel_shuffle.without_pixel_shuffle(content, card["fine_scale"])
    targets.check(content, target)
    changed = {"shuffle": shuffle, "target": target}
    if shuffle > 1:
        changed["output"] = f"{card.get('output', 'pixels')}, as channels for depth_to_space"
    return content, {**card, **changed}


def write(arguments: argparse.Namespace, tiles: list[int]) -> tuple[pathlib.Path, tuple[pathlib.Path, ...]]:
    """Writes files for an accelerator from an int8 `.tflite` file, after comparing their outputs with its own.

    Args:
        arguments: Parsed flags.
        tiles: Sides of windows; empty for the default.

    Returns:
        The folder, and the files.

    Raises:
        InputError: The file is not int8, is for an accelerator already, or does not run on this one.
    """
    name = arguments.model
    source = shipped.path(name) if shipped.is_name(name) else pathlib.Path(name).expanduser()
    card = model_card.read(source, initial_weights.plane_kind(source))
    if card.get("flavor") != targets.FLAVOR:
        raise InputError(f"--target {arguments.target} takes an int8 file. Received: {name}, {card.get('flavor')}")
    if card["shuffle"] != 1:
        raise InputError(f"{name} is for an accelerator already ({card.get('target', 'shuffle in the runtime')})")
    cli.require_writable(arguments.output)
    folder, paths = pathlib.Path(arguments.output), []
    for tile in tiles or [_default_tile(card)]:
        size = f"_{tile}" if paths else ""
        stem = arguments.name or source.stem.removesuffix(f"_{targets.FLAVOR}")
        paths.append(folder / f"{stem}_{targets.FLAVOR}_{arguments.target}{size}.tflite")
        content = _with_size(_without_card(source.read_bytes()), tile, card)
        content, fields = retargeted(content, _fields(card, tile, arguments.name), arguments.target)
        _store(paths[-1], content, fields, source)
        print(f"{paths[-1]}: {paths[-1].stat().st_size / 1e6:.2f} MB, tile {tile}, overlap {card['overlap']}")
    return folder, tuple(paths)


def _default_tile(card) -> int:
    return max(TILE, -(-4 * (card["overlap"] or 0) // 64) * 64)


def _fields(card, tile, name) -> dict:
    """Returns the card's fields for another file: a head for uncertainties belongs to the file that it was made for."""
    left_out = ("weights_sha256", "uncertainty")
    if card["overlap"] is not None and tile <= 2 * card["overlap"]:
        raise InputError(f"tile must be above {2 * card['overlap']}, twice the overlap. Received: {tile}")
    fields = {key: value for key, value in model_card.latest(card).items() if key not in left_out}
    return (
        fields
        | {"tile": tile if card["overlap"] is not None else None, "max_tile": None}
        | ({"name": name} if name else {})
    )


def _without_card(content: bytes) -> bytes:
    """Returns what the converter wrote, without the model card."""
    model = tflite_schema.parse(content)
    (entry,) = (entry for entry in model.metadata if entry.name == model_card.NAME)
    model.metadata.remove(entry)
    del model.buffers[entry.buffer]  # the last one, so no other changes its number
    return tflite_schema.serialized(model)


def _with_size(content: bytes, tile: int, card: dict) -> bytes:
    """Returns a file whose input has another size; LiteRT finds the sizes of all other tensors."""
    try:
        from ai_edge_litert.interpreter import OpResolverType
    except ModuleNotFoundError:
        from tflite_runtime.interpreter import OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # a delegate hides the tensors within it
    interpreter = runtime.interpreter_class()(model_content=content, experimental_op_resolver_type=plain)
    number = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(number, (1, tile, tile, card["channels"]), strict=False)
    interpreter.allocate_tensors()
    model = tflite_schema.parse(content)
    tensors = model.subgraphs[0].tensors
    for details in interpreter.get_tensor_details():
        if details["index"] < len(tensors):  # LiteRT appends temporary ones
            tensors[details["index"]].shape = np.asarray(details["shape"], np.int32)
            tensors[details["index"]].shapeSignature = None
    return tflite_schema.serialized(model)


def _store(path, content, card, source):
    """Writes the file and the copy of its card, if its outputs are those of the source."""
    whole = model_card.attach(content, card)
    with files.atomic_write(path) as temporary:
        temporary.write_bytes(whole)
        _require_equal(plane_model.load(source, tile=card["tile"]), plane_model.load(temporary), source)
    written = model_card.latest(model_card.check(whole, "the new file", card.get("kind")))
    files.write_text(model_card.sidecar_path(path), json.dumps(written, indent=2) + "\n")


def _require_equal(first, second, source):
    side = second.card["tile"]
    noise = np.random.default_rng(0).random((side, side, first.channels), np.float32)
    smooth = np.broadcast_to(np.linspace(0, 1, side, dtype=np.float32)[:, None, None], noise.shape)
    for image in (noise, smooth):
        if not np.array_equal(first.residual(image), second.residual(image)):
            raise InputError(f"the file for the accelerator returns other pixels than {source}; it was not written")
