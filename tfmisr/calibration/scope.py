"""The images that a calibration is valid for: a new field `applicability` from the images of the calibration (T-33)."""

import json
import os

from tfmisr.calibration import applicability
from tfmisr.data.pixel_cache import PixelCache
from tfmisr.degradations import Degradation
from tfmisr.edge import declared_use
from tfmisr.edge.errors import InputError
from tfmisr.edge.upscaler import Upscaler

# What the pixels of an archive say better than the declaration of the images that a model was trained on.
_OF_ACQUISITION = ("BitsStored", "PixelSpacing", "LossyImageCompression")


def declared(path: str | os.PathLike | None, present: dict | None) -> dict:
    """Returns the declared use of the calibrated model.

    Args:
        path: A JSON file of DICOM keywords and their values; see `tfmisr.edge.declared_use.check`.
        present: The field `applicability` of the card so far. Without a file its declaration is kept, apart from
            what depends on the acquisition.

    Raises:
        InputError: The file is no declaration.
    """
    if path is None:
        kept = (present or {}).get("declared") or {}
        return {keyword: value for keyword, value in kept.items() if keyword not in _OF_ACQUISITION}
    try:
        with open(path, encoding="utf-8") as file:
            read = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON ({type(error).__name__})") from error
    if not declared_use.is_valid(read):
        raise InputError(
            f"expected a JSON object of {', '.join(declared_use.KEYWORDS)}, each with a list of values or minimum and "
            f"maximum, in {path}"
        )
    return read


def header_note(use: dict, is_given: bool, is_used: bool) -> str:
    """Returns a note on the header, with which images of the archive itself may be refused; empty where none is needed.

    Args:
        use: What `declared` returned.
        is_given: Whether it was read from a file.
        is_used: Whether there were enough patients to write it.
    """
    if is_given:
        return "" if is_used else "Note: --declared is not used, for want of patients."
    stated = "; ".join(
        f"{keyword} {', '.join(map(str, values))}" for keyword, values in use.items() if isinstance(values, list)
    )
    return stated and (
        f"Note: the header of an image is still compared with what the model's card declares ({stated}), your own "
        "images included; --declared FILE.json says what they are."
    )


def fit(
    places: list[tuple[PixelCache, int]], upscaler: Upscaler, degradation: Degradation, use: dict
) -> tuple[dict | None, str]:
    """Returns the field, and a note; without a field, the note says why it cannot be fitted.

    Args:
        places: Pairs of a cache and an index of the calibration's images.
        upscaler: The model.
        degradation: Degradation model that makes LR.
        use: The declared use.
    """
    firsts: dict[int, tuple[PixelCache, int]] = {}  # one image of each patient counts
    for cache, index in places:
        firsts.setdefault(int(cache.patients[index]), (cache, index))
    try:
        applicability.require_enough(len(firsts))  # before every image is upscaled
        field = applicability.fit(applicability.samples(firsts.values(), upscaler, degradation), declared=use)
    except InputError as error:
        return None, f"Note: which images are out of scope stays as the card had it: {error}."
    return field, f"Note: images unlike these {len(firsts):,} patients' are out of scope from now on."
