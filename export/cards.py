"""Builds the model card of an exported file from the run's folder."""

import json
import os
import pathlib

import tfmisr
from tfmisr.degradations import Degradation
from tfmisr.edge import interpolation, tiling
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError
from tfmisr.export import consistency, convert

GEOMETRY = (
    "half-pixel centers: the output pixel i covers the input from i / scale to (i + 1) / scale; "
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
TRAINING_FIELDS = (
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

# Fields that are listed where they differ from their default: `python -m tfmisr.calibrate` makes LR by them.
_DEGRADED = {
    "degradation": "bicubic",
    "blur_sigma": 0.0,
    "noise_std": 0.0,
    "quantize_lr": True,
    "burned_in": 0.0,
    "intensity_augmentation": 0.0,
}

# Low-contrast gating: second differences (curvature), in quantization steps of the input, between which the residual of
# an integer network fades in; see `tfmisr.edge.interpolation.low_contrast_gate`.
_GATING_STEPS = (1.0, 3.0)
_SKIP_RADIUS = 2


def gating_thresholds(flavor: str, skip: str) -> list[float] | None:
    """Returns the second differences between which the residual of an 8-bit network fades in, `None` for others."""
    if skip == "none" or flavor not in ("int8", "dynamic"):
        return None
    return [steps / 255 for steps in _GATING_STEPS]


def overlap_of(radius: int | None, subgraph: convert.ExportedSubgraph, thresholds: list[float] | None) -> int | None:
    """Returns the overlap of windows in low-resolution pixels, `None` for a network that sees the whole image.

    Args:
        radius: Receptive radius of the exported subgraph.
        subgraph: What was converted.
        thresholds: See `gating_thresholds`.
    """
    if radius is None:
        return None
    gating = interpolation.GATE_RADIUS if thresholds else 0
    return max(radius, gating, 0 if subgraph.skip == "none" else _SKIP_RADIUS)


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
    flavor: str,
    subgraph: convert.ExportedSubgraph,
    scale: int,
    tile: int | None,
    radius: int | None,
    run_fields: dict,
    max_tile: int | None = None,
    degradation: Degradation | None = None,
) -> dict:
    """Returns the card of one file.

    Args:
        name: The model's name.
        flavor: One of `tfmisr.export.convert.FLAVORS`.
        subgraph: What was converted.
        scale: Upsampling factor.
        tile: Side of all windows, for accelerators; `None` where they are chosen for each image.
        radius: Receptive radius of what was converted.
        run_fields: What all files of this run share; see `shared`.
        max_tile: Bound of windows that are chosen for each image; see `tfmisr.edge.tiling.fit`, also for the default.
        degradation: That of the run, for the field `consistency`; `None`: no correction.
    """
    corrected, reason = (None, "") if degradation is None else consistency.describe(degradation, scale)
    uncorrected = (f"Results are not corrected to agree with the input: {reason}.",) if reason else ()
    thresholds = gating_thresholds(flavor, subgraph.skip)
    overlap = overlap_of(radius, subgraph, thresholds)
    adversarial = _ADVERSARIAL if run_fields.get("training", {}).get("discriminator") else ()
    return {
        "name": name,
        "version": tfmisr.__version__,
        "flavor": flavor,
        "scale": scale,
        "channels": subgraph.network.input_shape[-1],
        "parameters": subgraph.network.count_params(),
        "value_range": [0.0, 1.0],
        "input": "low_res, (1, height, width, channels); pixels divided by the value of full brightness",
        "output": _output(subgraph),
        "tile": tile,
        "max_tile": None if tile or overlap is None else max_tile or tiling.default_max_tile(overlap),
        "overlap": overlap,
        "skip": subgraph.skip,
        "shuffle": subgraph.shuffle,
        "fine_scale": subgraph.fine_scale,
        "gating_thresholds": thresholds,
        "consistency": corrected,
        "geometry": GEOMETRY,
        **run_fields,
        "intended_use": INTENDED_USE,
        "limits": [*LIMITS, *_LIMITS_OF.get(flavor, ()), *adversarial, *uncorrected],
    }


def _output(subgraph) -> str:
    what = "the enlarged image"
    if subgraph.skip == "bicubic":
        what = "what is added to the bicubic interpolation (a = -0.5, border mirrored) of low_res"
    if subgraph.fine_scale > 1:
        what += f"; then the same {subgraph.fine_scale} times as large, to be taken where it is not saturated"
    return what + (", as channels for depth_to_space" if subgraph.shuffle > 1 else "")


def shared(folder: str | os.PathLike, fields: dict, modality: str | None, weights_license: str | None) -> dict:
    """Returns the card's fields on training, data and scores, which all files of a run share.

    Args:
        folder: The run's folder.
        fields: Fields of its `config.json`; empty where there is none.
        modality: What was imaged, in the user's words.
        weights_license: License of the weights.
    """
    trained = {key: fields[key] for key in TRAINING_FIELDS if fields.get(key) is not None}
    trained |= {key: fields[key] for key, default in _DEGRADED.items() if fields.get(key, default) != default}
    if "dataset" in trained:
        trained["dataset"] = public_name(trained["dataset"])
    modality_of_dataset = _MODALITY.get(trained.get("dataset", "").partition("/")[0])
    return {
        "modality": modality or modality_of_dataset or "not stated",
        "training": trained,
        **_scores(pathlib.Path(folder)),
        "license": weights_license or "not stated",
    }


def public_name(dataset: str) -> str:
    """Returns the dataset's name where it is a published one; the name of a folder may identify people and machines."""
    import tensorflow_datasets as tfds

    from tfmisr import data

    published = dataset.partition("/")[0].partition(":")[0] in {*data.names(), *tfds.list_builders()}
    return dataset if published else "a folder of images"


def _scores(folder) -> dict:
    """Returns protocol and scores of the run's evaluation, where there is one."""
    try:
        metrics = json.loads((folder / "evaluation" / "metrics.json").read_text(encoding="utf-8"))
        models = {k: _main_scores(v) for k, v in metrics["models"].items() if k in (folder.resolve().name, "bicubic")}
        return {"protocol": metrics["protocol"], "scores": models}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {"protocol": None, "scores": None}


def _main_scores(scores: dict) -> dict:
    return {k: scores[k] for k in ("n", "patients", "psnr", "psnr_low", "psnr_high", "ssim") if k in scores}


__getattr__ = renamed(__name__, gate_of="gating_thresholds")
