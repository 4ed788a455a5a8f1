"""The images of a study: stored values as their files hold them, what a network sees of them, and how to show them."""

import dataclasses
import glob
import hashlib
import os
import pathlib
import re
from collections.abc import Iterator

import numpy as np

from tfmisr.degradations import crop_to_multiple
from tfmisr.edge import dicom, dicom_file, images, series, stored_values
from tfmisr.edge.derived import padding, ranges
from tfmisr.edge.derived.ranges import Range
from tfmisr.edge.errors import InputError, hint
from tfmisr.edge.levels import Frames
from tfmisr.reader_study.windowing import FUNCTIONS, LINEAR, Window

# Of the values of an image without a window in its header: what the start window spans, in per cent.
_SPANNED = (0.1, 99.9)


@dataclasses.dataclass(frozen=True)
class Case:
    """One image at full resolution. Nothing here names a patient.

    Attributes:
        pixels: int32 array (height, width) of stored values, a multiple of the scale.
        limits: Lowest and highest value that can be stored.
        range: From stored values to a network's [0, 1] and back.
        window: What is seen first, of any arm.
        slope: Rescale Slope (0028,1053), for the window.
        intercept: Rescale Intercept (0028,1052).
        inverted: Low values are bright: MONOCHROME1.
        padding: Lowest and highest stored value that mean "no image here", or `None`.
        levels: Full-scale value that low-resolution images are rounded to.
        source: SHA-256 of where it comes from: the file, or the dataset, its split and the image's id.
    """

    pixels: np.ndarray
    limits: tuple[int, int]
    range: Range
    window: Window
    slope: float
    intercept: float
    inverted: bool
    padding: tuple[int, int] | None
    levels: int
    source: str

    @property
    def mask(self) -> np.ndarray:
        """Where there is no image."""
        if self.padding is None:
            return np.zeros(self.pixels.shape, bool)
        return (self.pixels >= self.padding[0]) & (self.pixels <= self.padding[1])

    def to_network(self) -> np.ndarray:
        """Returns float32 (height, width, 1) in [0, 1], continued into the padding."""
        stored = self.pixels[..., None]
        if self.padding is not None:
            stored = padding.extrapolate(stored, self.mask)
        return self.range.to_network(stored)[0]

    def to_stored(self, image: np.ndarray) -> np.ndarray:
        """Returns int32 stored values of a network's (height, width, 1), padding where this image has some."""
        stored = np.rint(self.range.to_stored(np.clip(image[..., 0], 0, 1)))
        stored = np.clip(stored, *self.limits).astype(np.int32)
        if self.padding is not None:
            padding.avoid_padding_values(stored, self.padding, self.limits)
            stored[self.mask] = self.pixels[self.mask]
        return stored


def collect(wanted, scale: int, seed: int, folder: pathlib.Path) -> tuple[Iterator[Case], int]:
    """Returns as many cases as a study wants, and of how many patients the judged ones are.

    The judged ones come first. As long as there are other patients, none is of a patient of another one: answers to
    several images of a patient are not independent. A file that names no patient is one of its own.

    Args:
        wanted: `tfmisr.reader_study.design.Cases`.
        scale: Images are cut to a multiple of it.
        seed: Chooses among more images than are wanted.
        folder: Where relative paths count from.

    Raises:
        InputError: Too few images, or one that cannot be shown: colour, several frames, a Modality LUT.
    """
    total = wanted.count + wanted.training
    rng = np.random.default_rng([seed, 1])
    if wanted.files:
        paths = _matching(wanted.files, folder)
        _require(len(paths), total, "files")
        patients = _patients(paths, wanted.patient_pattern)
        chosen = _one_a_patient(patients, rng)[:total]
        scales = _scales(paths)
        return (read_file(paths[i], scale, scales(paths[i])) for i in chosen), _counted(
            patients, chosen[: wanted.count]
        )
    from tfmisr import data
    from tfmisr.data import pipeline

    local = folder / wanted.dataset
    name = os.fspath(local) if local.is_dir() else wanted.dataset
    manual_dirs = [folder / manual for manual in wanted.manual_dir]
    data_dir = wanted.data_dir and os.fspath(folder / wanted.data_dir)
    source = data.load(name, data_dir, manual_dirs, wanted.patient_pattern)
    if wanted.split not in source.splits:
        raise InputError(
            f"[cases] split must be one of {', '.join(source.splits)}. "
            f"Received: {wanted.split}{hint(wanted.split, source.splits)}"
        )
    if source.channels != 1:
        raise InputError(f"a study shows gray images. Received: {source.name} in colour")
    cache = pipeline.cache_of(source, wanted.split)
    _require(len(cache), total, f"images in the {wanted.split} split of {source.name}")
    where = f"{source.name} {wanted.split}"
    chosen = _one_a_patient(cache.patients, rng)[:total]
    found = (
        from_array(cache[i][..., 0], int(cache.max_vals[i]), scale, f"{where} {cache.ids[i]}".encode()) for i in chosen
    )
    return found, _counted(cache.patients, chosen[: wanted.count])


def _matching(patterns, folder):
    found = {}
    for pattern in patterns:
        matches = sorted(glob.glob(os.fspath(folder / pathlib.Path(pattern).expanduser())))
        if not matches:
            raise InputError(f"[cases] files: expected images at {pattern}, found nothing")
        found |= dict.fromkeys(matches)
    return list(found)


def _require(found, total, what):
    if found < total:
        raise InputError(f"the study needs {total} cases with those of the training block, found {found} {what}")


def _patients(paths, pattern) -> list[str]:
    """Returns the patient of each file: by the pattern, else by the DICOM Patient ID, else the file is one."""
    if pattern is None:
        return [_patient(path) or f"file {path}" for path in paths]
    found = [re.search(pattern, os.path.basename(path)) for path in paths]
    if None in found:
        raise InputError(f"[cases] patient_pattern {pattern} finds no patient in {paths[found.index(None)]}")
    return [match[1] or match[0] for match in found]


def _patient(path):
    try:
        header = images.read_header(path)
    except InputError:
        return None  # told with its reason if it is chosen
    return header and header.patient and f"patient {header.patient}"


def _counted(patients, chosen) -> int:
    return len({patients[i] for i in chosen})


def _one_a_patient(patients, rng) -> list[int]:
    """Returns all indices in random order, one of each patient first."""
    shuffled = rng.permutation(len(patients))
    _, first = np.unique(np.asarray(patients)[shuffled], return_index=True)
    first = np.sort(first)
    return [*shuffled[first], *np.delete(shuffled, first)]


def from_array(pixels: np.ndarray, max_val: int, scale: int, source: bytes) -> Case:
    """Returns the case of unsigned pixels (height, width) whose `max_val` is 1.0 to a network."""
    pixels = crop_to_multiple(pixels, scale).astype(np.int32)
    return Case(
        pixels=_sized(pixels),
        limits=(0, max_val),
        range=Range(0, max_val),
        window=_spanning(pixels),
        slope=1.0,
        intercept=0.0,
        inverted=False,
        padding=None,
        levels=max_val,
        source=hashlib.sha256(source).hexdigest(),
    )


def _scales(paths):
    """Returns a function of a path: the intensity scale of its series among the paths, or `None` where it has its own.

    As in training, so that models see what they would there.
    """
    found, keys = series.SeriesScales(images.survey), {}
    for path in paths:
        if group := images.group_of(path):
            keys[path] = group if group[0] else (os.path.dirname(path), group)
            found.add(keys[path], path)
    return lambda path: found[keys[path]] if path in keys else None


def read_file(path, scale: int, intensities=None) -> Case:
    """Returns the case of one image file; see `collect`.

    Args:
        path: The file.
        scale: Upsampling factor.
        intensities: `tfmisr.edge.levels.IntensityScale` of its series; by default its own.
    """
    content = pathlib.Path(path).read_bytes()
    if images.detect_format(path) == "DICOM":
        return _read_dicom(path, scale, content, intensities)
    frames = images.read_images(path, intensities)
    if len(frames) > 1 or frames[0].pixels.shape[-1] != 1:
        raise InputError(f"{path}: a study shows single gray images")
    return from_array(frames[0].pixels[..., 0], frames[0].max_val, scale, content)


def _read_dicom(path, scale, content, intensities):
    with dicom_file.raise_input_errors(path):
        ds = dicom_file.load(path)
        if reason := dicom.rejection_reason(ds) or dicom.unsupported_reason(ds) or _unshowable(ds):
            raise InputError(reason)
        image = stored_values.read(ds)
        ds, (pixels,) = image.ds, image.frames
        mask = dicom.padding_mask(ds, pixels)
        found = ranges.frame_ranges(ds, Frames(1, lambda: iter([(pixels, mask)])), intensities)[0]
        pixels = _sized(crop_to_multiple(pixels, scale).astype(np.int32))
        item = dicom.rescale_item(ds, 0)
        slope, intercept = float(item.get("RescaleSlope") or 1), float(item.get("RescaleIntercept") or 0)
        limits = _limits(ds)
        values = pixels if mask is None else pixels[~crop_to_multiple(mask, scale)]
        return Case(
            pixels=pixels,
            limits=limits,
            range=found,
            window=_window(ds, item) or _spanning(values * slope + intercept),
            slope=slope,
            intercept=intercept,
            inverted=ds.PhotometricInterpretation == "MONOCHROME1",
            padding=dicom.padding_range(ds),
            levels=max(1, round(abs(found.span))),
            source=hashlib.sha256(content).hexdigest(),
        )


def _unshowable(ds):
    if ds.PhotometricInterpretation not in dicom.GRAY:
        return "a study shows gray images"
    if int(ds.get("NumberOfFrames") or 1) > 1:
        return "a study shows single images; write one frame to a file of its own"
    if "ModalityLUTSequence" in ds:
        return "a Modality LUT Sequence (0028,3000) is not supported here"
    if ds.BitsStored > 16:
        return "a study shows up to 16 bits"
    if ds.get("BurnedInAnnotation") == "YES":
        return (
            "Burned In Annotation (0028,0301) is YES: readers would see what is written in the pixels, perhaps a "
            "patient's name; blacken it and set the tag to NO"
        )
    return None


def _limits(ds):
    low = -(1 << ds.BitsStored - 1) if ds.PixelRepresentation else 0
    return low, low + (1 << ds.BitsStored) - 1


def _window(ds, item):
    """Returns the first window of the header, or `None` where it has none or an impossible one."""
    for holder in (*_functional_group(ds), ds):
        center, width = holder.get("WindowCenter"), holder.get("WindowWidth")
        if center is None or width is None or not str(center).strip() or not str(width).strip():
            continue
        first = [float(value if isinstance(value, (int, float, str)) else value[0]) for value in (center, width)]
        function = str(holder.get("VOILUTFunction") or LINEAR)
        function = function if function in FUNCTIONS else LINEAR
        if first[1] > 0 and (function != LINEAR or first[1] >= 1) and np.isfinite(first).all():
            return Window(*first, function)
    return None


def _functional_group(ds):
    """Yields what holds the window in an enhanced object (C.7.6.16.2.10)."""
    for name in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        for group in (ds.get(name) or [])[:1]:
            yield from (group.get("FrameVOILUTSequence") or [])[:1]


def _spanning(values):
    """Returns the window over the values of the full-resolution image, but for the outermost ones."""
    low, high = (float(v) for v in np.percentile(values, _SPANNED)) if values.size else (0.0, 1.0)
    low, high = np.floor(low), np.ceil(high)
    # From exactly the lowest to exactly the highest brightness by the LINEAR function.
    return Window((low + high + 1) / 2, max(high - low + 1, 2.0))


def _sized(pixels):
    if min(pixels.shape) < 16 or max(pixels.shape) > 8192:
        raise InputError(f"a study shows images of 16 to 8192 pixels a side. Received: {pixels.shape}")
    return pixels
