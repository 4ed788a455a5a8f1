"""Detection tasks: which signal, how large, how strong, and how it is put into an image."""

import copy
import dataclasses
import hashlib
import json
import math
import os
import pathlib
import re
from collections.abc import Callable

import numpy as np

from tfmisr.edge.errors import InputError, check_name
from tfmisr.observers import channels, masks, signals

WINDOW = 64  # side, in pixels of the high-resolution image
_UNITS, _CONTRASTS, _INSERTIONS = ("pixels", "mm"), ("levels", "HU", "percent"), ("additive", "multiplicative")


@dataclasses.dataclass(frozen=True)
class Task:
    """A detection task. Its fields are those of a task file in JSON.

    Attributes:
        name: Name in tables and of its picture: letters, digits, - and _.
        signal: Name in `tfmisr.observers.signals.SIGNALS`, or `mask`.
        size: Size of the signal; each signal says of what. Of a mask: its longer side, which is measured and compared.
        contrast: Height of the signal where its profile is 1; negative: darker.
        options: Further parameters of the signal, in pixels or degrees.
        against: Another signal as the second hypothesis, of the same size and options (the Rayleigh task); `None`: no
            signal.
        size_unit: `pixels` of the high-resolution image, or `mm`, which needs `pixel_spacing`.
        pixel_spacing: Millimeters of a high-resolution pixel.
        contrast_unit: `levels` of 8 bits (1/255 of the full scale), `HU` for CT, or `percent` for multiplication.
        insertion: `additive`, for images whose values are a logarithm of the intensity, as processed radiographs and
            CT are; `multiplicative`: times `exp(-contrast / 100 * profile)`, for linear intensity.
        channels: Channel set of the channelized Hotelling observer.
        mask: Of the signal `mask`: its file, see `tfmisr.observers.masks`. It is read once.

    Raises:
        InputError: A value is unknown or contradicts another.
    """

    name: str
    signal: str
    size: float
    contrast: float
    options: dict[str, float] = dataclasses.field(default_factory=dict)
    against: str | None = None
    size_unit: str = "pixels"
    pixel_spacing: float | None = None
    contrast_unit: str = "levels"
    insertion: str = "additive"
    channels: str = "ddog"
    mask: str | None = None

    def __post_init__(self):
        if not isinstance(self.name, str) or not re.fullmatch(r"[\w-]+", self.name):  # a file's name
            raise InputError(f"a task's name must be a text of letters, digits, - and _. Received: {self.name!r}")
        for field, known in (
            ("size_unit", _UNITS),
            ("contrast_unit", _CONTRASTS),
            ("insertion", _INSERTIONS),
            ("channels", tuple(channels.CHANNELS)),
        ):
            check_name(field, getattr(self, field), list(known))
        for field in ("size", "contrast"):
            if type(getattr(self, field)) not in (int, float) or not math.isfinite(getattr(self, field)):
                raise InputError(f"task {self.name}: {field} must be a number. Received: {getattr(self, field)!r}")
        if self.size_unit == "mm" and not self.pixel_spacing:
            raise InputError(f"task {self.name}: a size in mm needs pixel_spacing, the mm of a high-resolution pixel")
        if (self.contrast_unit == "percent") != (self.insertion == "multiplicative"):
            raise InputError(f"task {self.name}: insertion multiplicative and contrast_unit percent go together")
        if not self.size > 0:
            raise InputError(f"task {self.name}: size must be above 0. Received: {self.size}")
        if self.pixel_spacing is not None and not self.pixel_spacing > 0:
            raise InputError(f"task {self.name}: pixel_spacing must be above 0. Received: {self.pixel_spacing}")
        if (self.signal == "mask") != (self.mask is not None):
            raise InputError(f"task {self.name}: the signal mask and a file in the field mask go together")
        if self.mask is not None:
            self._read_mask()
        self.profile(), self.other_profile()

    def _read_mask(self):
        if self.against or self.options:
            raise InputError(f"task {self.name}: a mask has neither options nor another signal (against)")
        profile = masks.read(self.mask, WINDOW)
        object.__setattr__(self, "_mask", profile)  # no field: the hash below stands for it in files and comparisons
        pixels = self.size / self.pixel_spacing if self.size_unit == "mm" else self.size
        if abs(masks.extent(profile) - pixels) > 1:
            raise InputError(
                f"task {self.name}: expected a mask whose longer side is {pixels:.1f} pixels, as size says, received "
                f"{masks.extent(profile)}; resize the mask to the high-resolution grid, or correct size"
            )

    def profile(self) -> np.ndarray:
        """Returns the signal's profile `(64, 64)`."""
        return self._profile(self.signal)

    def other_profile(self) -> np.ndarray:
        """Returns the profile of the second hypothesis: that of `against`, or zeros."""
        return self._profile(self.against) if self.against else np.zeros((WINDOW, WINDOW))

    def _profile(self, signal):
        if signal == "mask":
            return self._mask
        size = self.size / self.pixel_spacing if self.size_unit == "mm" else self.size
        return signals.create(signal, WINDOW, size, **self.options)

    def inserted(self, window: np.ndarray, profile: np.ndarray, max_val: int) -> np.ndarray:
        """Returns a window with a signal, float64, clipped to the range of the image but not rounded.

        Args:
            window: Pixels `(64, 64)` in stored levels.
            profile: What `profile` or `other_profile` returns.
            max_val: Full-scale value. Contrasts in HU need 4095, the full scale of CT.

        Raises:
            InputError: The contrast is in HU and the image is none of CT.
        """
        return np.clip(window + self.change(window, profile, max_val), 0, max_val)

    def change(self, window: np.ndarray, profile: np.ndarray, max_val: int) -> np.ndarray:
        """Returns what a signal adds to windows `(..., 64, 64)`, in stored levels; the other arguments are as above.

        Raises:
            InputError: The contrast is in HU and the image is none of CT.
        """
        if self.insertion == "multiplicative":
            return window * (np.exp(-self.contrast / 100 * profile) - 1)
        if self.contrast_unit == "HU" and max_val != 4095:
            raise InputError(f"task {self.name}: a contrast in HU needs CT slices. Received: a full scale of {max_val}")
        levels = 1.0 if self.contrast_unit == "HU" else max_val / 255
        return np.broadcast_to(self.contrast * levels * profile, window.shape)

    def described(self) -> dict:
        """Returns the fields for files of results: of a mask, not the path but a SHA-256 of its profile."""
        fields = {key: value for key, value in dataclasses.asdict(self).items() if key != "mask"}
        if self.mask is not None:
            fields["mask_sha256"] = hashlib.sha256(self._mask.astype("<f8").tobytes()).hexdigest()
        return fields

    def with_contrast(self, contrast: float) -> "Task":
        """Returns the same task with another contrast; a mask is not read again."""
        task = copy.copy(self)
        object.__setattr__(task, "contrast", contrast)
        return task

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits of a SHA-256 of all fields but the name; of a mask, of its pixels."""
        fields = {key: value for key, value in self.described().items() if key != "name"}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]


# Projections of lesions in chest radiographs of 512 x 512 pixels, at 0.82 mm a pixel, and test patterns.
_MM = {"size_unit": "mm", "pixel_spacing": 0.82}
TASKS: dict[str, Callable[[], Task]] = {
    "nodule_10mm": lambda: Task("nodule_10mm", "nodule", 10, 6, **_MM),
    "nodule_6mm": lambda: Task("nodule_6mm", "nodule", 6, 12, **_MM),
    "nodule_3mm": lambda: Task("nodule_3mm", "nodule", 3, 40, **_MM),
    "line": lambda: Task("line", "line", 0.7, 12, channels="gabor"),
    "edge": lambda: Task("edge", "edge", 1.0, 10, channels="gabor"),
    "dot": lambda: Task("dot", "dot", 0.8, 30),
    "dot_cluster": lambda: Task("dot_cluster", "dot_cluster", 0.8, 15),
    "rayleigh": lambda: Task("rayleigh", "two_dots", 0.8, 30, against="bar", channels="gabor"),
}


def load(name: str | os.PathLike) -> Task:
    """Returns a task by its name in `TASKS`, or from a JSON file with its fields.

    Raises:
        InputError: There is no such task or file, or a field is unknown or invalid.
    """
    if name in TASKS:
        return TASKS[name]()
    path = pathlib.Path(name)
    if path.suffix.lower() != ".json":
        check_name("task", str(name), list(TASKS))
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return Task(**{"name": path.stem, **fields, **_located(fields, path)})
    except OSError as error:
        raise InputError(f"expected a task file at {path}: {error.strerror}") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is no task file: {error}") from error


def _located(fields, path) -> dict:
    """Returns the fields of a mask: its path, relative to the task file, and its size where the file has none."""
    if not isinstance(fields.get("mask"), str):
        return {}
    found = {"mask": os.fspath(path.parent / fields["mask"])}
    if "size" in fields or "size_unit" in fields:
        return found
    return found | {"size": masks.extent(masks.read(found["mask"], WINDOW))}
