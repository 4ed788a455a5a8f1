"""The state that the server sends to a reader's page: no arm, case, file name or repeat flag, for the blinding (R-02).

It also validates the display check, which the page sends.
"""

import dataclasses
import typing

from tfmisr.edge.errors import InputError
from tfmisr.reader_study.store import Store, Trial

AMBIENT = ("dark", "dimmed", "office")
CALIBRATED = ("yes", "no", "unknown")
_MAX_USER_AGENT = 300  # characters


def state(store: Store, reader: int) -> dict:
    """Returns the state of a reader's page.

    Args:
        store: Store of the study.
        reader: Number of the reader.

    Returns:
        Texts of the study and, among others, `phase` (`reading`, `waiting` for the next session, `done` or `closed`),
        the current trial `trial`, the next one of the session `next` and the revisable one `previous` (or `None`).
    """
    values, waiting, last = store.study.values, store.waiting(reader), store.last(reader)
    trials = store.trials(reader)
    session = waiting[0].session if waiting else trials[-1].session
    of_session = [trial for trial in trials if trial.session == session]
    remaining = sum(trial.position >= waiting[0].position for trial in of_session) if waiting else 0
    due = store.not_before(reader)
    phase = "closed" if store.closed_at() else "waiting" if due else "reading" if waiting else "done"
    screens = waiting if phase == "reading" else []
    return {
        "title": values["title"],
        "instructions": values["instructions"],
        "questions": [{key: question[key] for key in ("key", "text", "anchors")} for question in values["questions"]],
        "preference": _preference(values),
        "interpolation": values["display"]["interpolation"],
        "break_minutes": values["reading"]["break_minutes"],
        "allow_back": values["reading"]["allow_back"],
        "phase": phase,
        "not_before": due and due.isoformat(),
        "session": session,
        "sessions": values["order"]["sessions"],
        "done": len(of_session) - remaining,
        "total": len(of_session),
        "trial": _screen(store, screens[0]) if screens else None,
        "next": _screen(store, screens[1]) if len(screens) > 1 and screens[1].session == session else None,
        "previous": _previous(store, last, screens),
    }


def _preference(values: dict) -> dict | None:
    return values["preference"] and {key: values["preference"][key] for key in ("key", "text")}


def _screen(store: Store, trial: Trial) -> dict:
    return {
        "token": trial.token,
        "training": trial.training,
        "preference": len(trial.arms) == 2,
        "panes": store.panes(trial),
        "shown": dataclasses.asdict(store.study.presentation(trial.case)),
    }


def _previous(store: Store, last: Trial | None, screens: list[Trial]) -> dict | None:
    """Returns the last answered trial with its answers, if the study lets readers revise it."""
    if not screens or not last or not store.study.values["reading"]["allow_back"] or last.session != screens[0].session:
        return None
    return {**_screen(store, last), **store.stored(last)}


def display_check(content: typing.Any) -> dict:
    """Validates and returns a page's display check (R-10).

    Raises:
        InputError: A field is missing, unknown or out of range.
    """
    if not isinstance(content, dict) or set(content) != set(_DISPLAY):
        raise InputError(f"expected {', '.join(_DISPLAY)}")
    for name, is_valid in _DISPLAY.items():
        if not is_valid(content[name]):
            raise InputError(f"{name} is out of range")
    return content


def _is_number(value: typing.Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 1e6


def _is_flag(value: typing.Any) -> bool:
    return isinstance(value, bool)


_DISPLAY = {
    "dark_square": _is_flag,
    "bright_square": _is_flag,
    "ambient": AMBIENT.__contains__,
    "calibrated": CALIBRATED.__contains__,
    "screen_width": _is_number,
    "screen_height": _is_number,
    "device_pixel_ratio": _is_number,
    "color_depth": _is_number,
    "renderer": ("webgl2", "canvas").__contains__,
    "windowing_exact": _is_flag,
    "redraw_ms": _is_number,
    "user_agent": lambda value: isinstance(value, str) and len(value) <= _MAX_USER_AGENT,
}
