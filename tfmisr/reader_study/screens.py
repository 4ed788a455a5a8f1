"""What a reader's page is told, and nothing more: no arm, no case, no file, no hint of a repetition (R-02)."""

import dataclasses

from tfmisr.edge.errors import InputError
from tfmisr.reader_study.store import Store, Trial

AMBIENT = ("dark", "dimmed", "office")
CALIBRATED = ("yes", "no", "unknown")
_LONGEST = 300


def state(store: Store, reader: int) -> dict:
    """Returns the screen that a reader has to see next.

    Its `phase` is `reading`, `waiting` (for the next session), `done` or `closed`.
    """
    values, waiting, last = store.study.values, store.waiting(reader), store.last(reader)
    trials = store.trials(reader)
    session = waiting[0].session if waiting else trials[-1].session
    own = [trial for trial in trials if trial.session == session]
    ahead = sum(trial.position >= waiting[0].position for trial in own) if waiting else 0
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
        "done": len(own) - ahead,
        "total": len(own),
        "trial": _screen(store, screens[0]) if screens else None,
        "next": _screen(store, screens[1]) if len(screens) > 1 and screens[1].session == session else None,
        "previous": _previous(store, last, screens),
    }


def _preference(values):
    return values["preference"] and {key: values["preference"][key] for key in ("key", "text")}


def _screen(store: Store, trial: Trial) -> dict:
    return {
        "token": trial.token,
        "training": trial.training,
        "preference": len(trial.arms) == 2,
        "panes": store.panes(trial),
        "shown": dataclasses.asdict(store.study.shown(trial.case)),
    }


def _previous(store, last, screens):
    """Returns the last answered screen with its answers, where the study lets readers go back to it."""
    if not screens or not last or not store.study.values["reading"]["allow_back"] or last.session != screens[0].session:
        return None
    return {**_screen(store, last), "answers": store.answers(last)}


def display_check(content) -> dict:
    """Returns what a page said about the screen, checked (R-10).

    Raises:
        InputError: Something is missing, unknown or impossible.
    """
    if not isinstance(content, dict) or set(content) != set(_DISPLAY):
        raise InputError(f"expected {', '.join(_DISPLAY)}")
    for name, fits in _DISPLAY.items():
        if not fits(content[name]):
            raise InputError(f"{name} is impossible")
    return content


def _number(value):
    return type(value) in (int, float) and 0 <= value < 1e6


def _flag(value):
    return isinstance(value, bool)


_DISPLAY = {
    "dark_square": _flag,
    "bright_square": _flag,
    "ambient": AMBIENT.__contains__,
    "calibrated": CALIBRATED.__contains__,
    "screen_width": _number,
    "screen_height": _number,
    "device_pixel_ratio": _number,
    "color_depth": _number,
    "renderer": ("webgl2", "canvas").__contains__,
    "windowing_exact": _flag,
    "redraw_ms": _number,
    "user_agent": lambda value: isinstance(value, str) and len(value) <= _LONGEST,
}
