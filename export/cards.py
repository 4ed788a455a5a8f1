"""What a model card says, gathered from a run's folder."""

import json
import pathlib

import tfmisr
from tfmisr.edge import interpolation, tiling
from tfmisr.edge.errors import InputError
from tfmisr.export import convert

GEOMETRY = (
    "half-pixel centres: the output pixel i covers the input from i / scale to (i + 1) / scale; "
    "the image's outer edges stay where they are"
)
INTENDED_USE = (
    "Research. Enlarges images of the kind that it was trained on. Not a medical device: not for diagnosis, "
    "and never in place of the original image."
)
LIMITS = (
    "What the low-resolution image does not hold is guessed from the training images; fine structures may be "
    "missing, changed or invented.",
    "On images of another modality, body part, resolution, noise or processing than the training images it is untried.",
)
_LIMITS_OF = {
    "int8": (
        "The network sees 256 levels of its input. Detail of less than one of them is interpolated, not restored: "
        "for faint detail in 12- and 16-bit images take float16 or int16x8.",
    ),
    "dynamic": (
        "Each window is rounded by its own range: windows differ by up to the rounding, so results depend on the tile.",
    ),
    "int16x8": ("LiteRT runs it by plain kernels, without XNNPACK: precise, and slower than float32.",),
}
_ADVERSARIAL = (
    "Trained as a GAN: the grain that it adds looks like that of the training images and is made up, more than with a "
    "network trained on pixels alone.",
)
_MODALITY = {
    "chest_xray14": "chest radiographs (X-ray), ChestX-ray14, 8 bits",
    "chest_phantom": "synthetic chest radiographs; no real patient",
}
_TRAINING = (
    "dataset",
    "model",
    "scale",
    "patch_size",
    "batch_size",
    "steps",
    "epochs",
    "loss",
    "optimizer",
    "learning_rate",
    "quantization_aware",
    "discriminator",
    "seed",
)

# Second differences, in steps of the input, between which the integer network fades in; see
# `tfmisr.edge.interpolation.low_contrast_gate`.
_GATE = (1.0, 3.0)
_SKIP_RADIUS = 2


def gate_of(flavour: str, skip: str) -> list[float] | None:
    """Returns the second differences between which an 8-bit network fades in."""
    if skip == "none" or flavour not in ("int8", "dynamic"):
        return None
    return [bend / 255 for bend in _GATE]


def overlap_of(radius: int | None, core: convert.Core, gate) -> int | None:
    """Returns the pixels of a window's edge that are thrown away, `None` for a network that sees the whole image."""
    if radius is None:
        return None
    return max(radius, interpolation.GATE_RADIUS if gate else 0, 0 if core.skip == "none" else _SKIP_RADIUS)


def check_tile(name: str, side: int | None, overlap: int | None, radius: int | None) -> None:
    """Raises an `InputError` if nothing of a window of that side would be kept; see `describe`."""
    if side is None:
        return
    if radius is None:
        raise InputError(f"the network sees the whole image at once and has no {name}; use --tile any")
    if side <= 2 * overlap:
        raise InputError(
            f"{name} must be above {2 * overlap}, twice the {overlap} pixels that this network sees around each. "
            f"Received: {side}"
        )


def describe(
    name: str,
    flavour: str,
    core: convert.Core,
    scale: int,
    tile: int | None,
    radius: int | None,
    said: dict,
    max_tile: int | None = None,
) -> dict:
    """Returns the card of one file.

    Args:
        name: The model's name.
        flavour: One of `tfmisr.export.convert.FLAVOURS`.
        core: What was converted.
        scale: Upsampling factor.
        tile: Side of all windows, for accelerators; `None` where they are chosen for each image.
        radius: Receptive radius of what was converted.
        said: What all files of this run share; see `shared`.
        max_tile: Bound of windows that are chosen for each image; see `tfmisr.edge.tiling.fit`, also for the default.
    """
    gate = gate_of(flavour, core.skip)
    overlap = overlap_of(radius, core, gate)
    adversarial = _ADVERSARIAL if said.get("training", {}).get("discriminator") else ()
    return {
        "name": name,
        "version": tfmisr.__version__,
        "flavour": flavour,
        "scale": scale,
        "channels": core.network.input_shape[-1],
        "parameters": core.network.count_params(),
        "value_range": [0.0, 1.0],
        "input": "low_res, (1, height, width, channels); pixels divided by the value of full brightness",
        "output": _output(core),
        "tile": tile,
        "max_tile": None if tile or overlap is None else max_tile or tiling.default_max_tile(overlap),
        "overlap": overlap,
        "skip": core.skip,
        "shuffle": core.shuffle,
        "magnified": core.magnified,
        "gate": gate,
        "geometry": GEOMETRY,
        **said,
        "intended_use": INTENDED_USE,
        "limits": [*LIMITS, *_LIMITS_OF.get(flavour, ()), *adversarial],
    }


def _output(core) -> str:
    what = "the enlarged image"
    if core.skip == "bicubic":
        what = "what is added to the bicubic interpolation (a = -0.5, border mirrored) of low_res"
    if core.magnified > 1:
        what += f"; then the same {core.magnified} times as large, to be taken where it is not saturated"
    return what + (", as channels for depth_to_space" if core.shuffle > 1 else "")


def shared(folder, fields: dict, modality: str | None, licence: str | None) -> dict:
    """Returns what the run's folder says of training, data and scores.

    Args:
        folder: The run's folder.
        fields: Fields of its `config.json`; empty where there is none.
        modality: What was imaged, in the user's words.
        licence: Of the weights.
    """
    trained = {key: fields[key] for key in _TRAINING if fields.get(key) is not None}
    if "dataset" in trained:
        trained["dataset"] = _public(trained["dataset"])
    known = _MODALITY.get(trained.get("dataset", "").partition("/")[0])
    return {
        "modality": modality or known or "not stated",
        "training": trained,
        **_scores(pathlib.Path(folder)),
        "licence": licence or "not stated",
    }


def _public(dataset: str) -> str:
    """Returns the dataset's name where it is a published one; a folder's may name people and machines."""
    import tensorflow_datasets as tfds

    from tfmisr import data

    known = dataset.partition("/")[0].partition(":")[0] in {*data.names(), *tfds.list_builders()}
    return dataset if known else "a folder of images"


def _scores(folder) -> dict:
    """Returns protocol and scores of the run's evaluation, where there is one."""
    try:
        found = json.loads((folder / "evaluation" / "metrics.json").read_text(encoding="utf-8"))
        models = {k: _few(v) for k, v in found["models"].items() if k in (folder.resolve().name, "bicubic")}
        return {"protocol": found["protocol"], "scores": models}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {"protocol": None, "scores": None}


def _few(scores: dict) -> dict:
    return {k: scores[k] for k in ("n", "patients", "psnr", "psnr_low", "psnr_high", "ssim") if k in scores}
