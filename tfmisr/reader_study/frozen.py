"""A study as `build` has frozen it: study.json under a hash, and its pixels under theirs."""

import dataclasses
import hashlib
import json
import pathlib

import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.reader_study import ordering
from tfmisr.reader_study.windowing import Window

FORMAT = 1
FILE = "study.json"
PIXELS = "pixels"


@dataclasses.dataclass(frozen=True)
class Shown:
    """How a case is shown, alike for all its images.

    Attributes:
        height: In pixels.
        width: In pixels.
        offset: Added to the 16-bit numbers to get stored values.
        slope: Stored values times it ...
        intercept: ... plus this are what the window speaks of.
        window: What is seen first.
        inverted: Low values are bright.
        padding: Lowest and highest of the 16-bit numbers that mean "no image here", or `None`.
    """

    height: int
    width: int
    offset: int
    slope: float
    intercept: float
    window: Window
    inverted: bool
    padding: tuple[int, int] | None


class Study:
    """A frozen study.

    Args:
        folder: What `build` has written.

    Attributes:
        folder: The same.
        values: Content of study.json.
        hash: What two studies share if and only if they are the same, pixels included.

    Raises:
        InputError: It is none, or it was changed.
    """

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        path = self.folder / FILE
        try:
            self.values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise InputError(f"expected a study at {self.folder}, found no {FILE}; build it first") from error
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read: {error}") from error
        if not isinstance(self.values, dict) or self.values.get("format") != FORMAT:
            raise InputError(f"{path} is no study of format {FORMAT}; build it again")
        self.hash = digest(self.values)
        if self.values.get("hash") != self.hash:
            raise InputError(f"{path} was changed after the study was frozen: its hash is another one")
        self._cases = {case["id"]: case for case in self.values["cases"]}

    @property
    def plan(self) -> ordering.Plan:
        """What each reader's order is made of."""
        order, preference = self.values["order"], self.values["preference"]
        return ordering.Plan(
            cases=tuple(name for name, case in self._cases.items() if not case["training"]),
            training=tuple(name for name, case in self._cases.items() if case["training"]),
            arms=tuple(arm["name"] for arm in self.values["arms"]),
            pairs=tuple(map(tuple, preference["pairs"])) if preference else (),
            seed=self.values["seed"],
            **{key: order[key] for key in ("repeats", "repeat_distance", "min_distance", "sessions")},
        )

    def shown(self, case: str) -> Shown:
        """Returns how a case is shown."""
        found = {field.name: self._cases[case][field.name] for field in dataclasses.fields(Shown)}
        padding = tuple(found["padding"]) if found["padding"] else None
        return Shown(**{**found, "window": Window(**found["window"]), "padding": padding})

    def panes(self, case: str, arms: tuple[str, ...]) -> list[tuple[str, str]]:
        """Returns what stands side by side: pairs of a role (`lr`, `rated`, `truth`, `left`, `right`) and a digest."""
        images, references = self._cases[case]["images"], self._cases[case]["references"]
        if len(arms) == 2:
            return [("left", images[arms[0]]), ("right", images[arms[1]])]
        panes = self.values["display"]["panes"]
        return [(role, images[arms[0]] if role == "rated" else references[role]) for role in panes]

    def body(self, name: str) -> bytes:
        """Returns the pixels of that digest: little-endian 16-bit numbers, row by row."""
        return (self.folder / PIXELS / f"{name}.u16").read_bytes()

    def pixels(self, case: str, arm: str) -> np.ndarray:
        """Returns the 16-bit numbers (height, width) of one image."""
        shown = self.shown(case)
        return np.frombuffer(self.body(self._cases[case]["images"][arm]), "<u2").reshape(shown.height, shown.width)

    def changed_pixels(self) -> list[str]:
        """Returns the names of the pixel files that are missing, or are not what was frozen."""
        wanted = {
            name for case in self._cases.values() for part in ("images", "references") for name in case[part].values()
        }
        return sorted(name for name in wanted if not self._intact(name))

    def _intact(self, name):
        try:
            return hashlib.sha256(self.body(name)).hexdigest() == name
        except OSError:
            return False


def digest(values: dict) -> str:
    """Returns the hash of the content of study.json but for its own `hash`."""
    rest = {key: value for key, value in values.items() if key != "hash"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
