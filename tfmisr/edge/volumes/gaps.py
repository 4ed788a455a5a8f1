"""Checks that slices are equidistant; missing slices and changes of the spacing are named."""

import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.edge.text import counted, three_digits

_SHOWN = 6  # places in a message


def check(along: np.ndarray, tolerance: float) -> None:
    """Raises `InputError` where slices are missing or irregular.

    Args:
        along: Places along the normal, ascending, mm.
        tolerance: How far a slice may lie from its place in an equidistant stack, as a part of the spacing.
    """
    steps = np.diff(along)
    spacing = (along[-1] - along[0]) / len(steps)
    expected = along[0] + spacing * np.arange(len(along))
    if np.abs(along - expected).max() <= tolerance * spacing:
        return
    raise InputError(_missing(steps, tolerance) or _irregular(steps))


def _missing(steps: np.ndarray, tolerance: float) -> str | None:
    """Returns the error where all distances are whole multiples of the shortest, which is also a common one."""
    multiples = np.rint(steps / np.min(steps))
    unit = float(steps.sum() / multiples.sum())
    # Both ends of a distance may deviate by the tolerance.
    if np.abs(steps - multiples * unit).max() > 2 * tolerance * unit or 3 * (multiples == 1).sum() < len(steps):
        return None
    wide = np.flatnonzero(multiples > 1)
    if len(wide) > 2 and np.ptp(wide) == len(wide) - 1 and np.ptp(multiples[wide]) == 0:
        return _two_spacings(steps, wide)
    places = ", ".join(f"after slice {i + 1} (+{int(multiples[i]) - 1})" for i in wide[:_SHOWN])
    more = f", and {len(wide) - _SHOWN} more" if len(wide) > _SHOWN else ""
    total = counted(int(multiples[wide].sum()) - len(wide), "slice")
    return (
        f"expected equidistant slices. Received: {total} missing; no slice at {counted(len(wide), 'place')}: "
        f"{places}{more}, at a spacing of {three_digits(unit)} mm"
    )


def _two_spacings(steps: np.ndarray, wide: np.ndarray) -> str:
    first, last = int(wide[0]) + 1, int(wide[-1]) + 2
    low, high = three_digits(float(steps.min())), three_digits(float(steps[wide[0]]))
    return (
        "expected equidistant slices. Received: mixed spacings between slices: "
        f"{low} mm, but {high} mm from slice {first} to slice {last}"
    )


def _irregular(steps: np.ndarray) -> str:
    low, high = int(steps.argmin()), int(steps.argmax())
    return (
        f"expected equidistant slices. Received: irregular spacing, {three_digits(float(steps[low]))} mm after slice "
        f"{low + 1} to {three_digits(float(steps[high]))} mm after slice {high + 1}"
    )
