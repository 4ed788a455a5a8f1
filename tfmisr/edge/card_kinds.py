"""The kinds of networks that a card may describe: one that upscales images, and those that only other commands take."""

import os
from collections.abc import Mapping

from tfmisr.edge import head_card, plane_card
from tfmisr.edge.errors import InputError

# By the card's field `kind`, which a model that upscales has not: fields that the runtime reads with their checks.
RUNTIMES = {head_card.KIND: head_card.RUNTIME, plane_card.KIND: plane_card.RUNTIME}
_TITLES = {head_card.KIND: "an uncertainty head", plane_card.KIND: "a through-plane network"}
_ADVICE = {
    head_card.KIND: "NAME.uncertainty.tflite is the head",
    plane_card.KIND: "python -m tfmisr.volume takes through-plane networks, python -m tfmisr.upscale other models",
}


def check(card: Mapping, where: str | os.PathLike, kind: str | None) -> None:
    """Checks that a card is of a kind; `None` is a model that upscales.

    Raises:
        InputError: It is of another kind.
    """
    received = card.get("kind")
    if received == kind or (kind is None and received not in _TITLES):
        return
    expected, found = (_TITLES.get(str(each), "a model") for each in (kind, received))
    advice = _ADVICE.get(str(received)) or _ADVICE[str(kind)]
    raise InputError(f"expected {expected}, received {found}: {where}; {advice}")
