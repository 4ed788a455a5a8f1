"""Merges the results of several evaluations of one protocol into one table."""

import math
import os
import typing
from collections.abc import Iterable

from tfmisr.edge.errors import InputError
from tfmisr.edge.text import counted
from tfmisr.evaluation import protocol, results

if typing.TYPE_CHECKING:
    from tfmisr.evaluation.scoring import Result


def merged_models(paths: Iterable[str | os.PathLike], result: "Result") -> dict[str, dict]:
    """Returns the models of earlier results, by name.

    Args:
        paths: `metrics.json` files or their folders.
        result: The evaluation to merge them with.

    Raises:
        InputError: A protocol differs, or a name stands for two models.
    """
    models = {}
    for path in paths:
        content = results.read(path)
        protocol.require_same(result.protocol.to_dict(), content["protocol"], path)
        _require_same_count(result.summary, content["models"], path)
        models |= _other_models(models | result.summary, content["models"], path)
    return models


def _require_same_count(summary, other_models, path) -> None:
    """Raises an `InputError` where the other PSNR is the mean of other images, some having been left out."""
    count = _images_with_psnr(next(iter(summary.values())))
    for model in other_models.values():
        if (other_count := _images_with_psnr(model)) != count:
            raise InputError(
                f"{path} holds PSNR of {counted(other_count, 'image')}, this evaluation of {count}: some are blank or "
                "reproduced exactly by a model; evaluate all models in one command"
            )


def _images_with_psnr(model) -> int:
    # Before images were left out, one image without a PSNR made the mean undefined.
    return model.get("psnr_n", 0 if model.get("psnr") is None else model["n"])


def _other_models(known, other_models, path) -> dict:
    for name in known.keys() & other_models.keys():
        psnr, other_psnr = (_number(models[name].get("psnr")) for models in (known, other_models))
        if not math.isclose(psnr, other_psnr, rel_tol=1e-6):
            raise InputError(
                f"{path} holds another model named {name}; rename the folder of one run and evaluate it again"
            )
    return other_models


def _number(value) -> float:
    return value if value is not None and math.isfinite(value) else math.inf
