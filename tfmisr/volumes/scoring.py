"""`python -m tfmisr.evaluate --volumes`: thin volumes are thickened, restored by each method, scored in 3-D (V-13)."""

import argparse
import dataclasses
import pathlib
import sys

from tfmisr import cli
from tfmisr.datasets.image_folder import patients
from tfmisr.datasets.volume_folder import scan
from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import reading
from tfmisr.edge.volumes.source import Source
from tfmisr.evaluation import verdicts, volume_planes, volume_results
from tfmisr.evaluation.results import drawing
from tfmisr.evaluation.volume_measures import Truth, measure
from tfmisr.evaluation.volume_protocol import REFERENCE, VolumeProtocol, VolumesHash
from tfmisr.evaluation.volume_results import VolumeEvaluation
from tfmisr.progress import bar
from tfmisr.volumes import methods
from tfmisr.volumes.methods import Method
from tfmisr.volumes.thickening import Thickening, scale_of

_ISOTROPIC = 1.5  # distance between slices over pixel spacing from which a note is given
_STEPS = 900  # of a self-supervised method where neither steps nor minutes are given


def run(arguments: argparse.Namespace) -> VolumeEvaluation:
    """Scores the methods of parsed flags of `python -m tfmisr.evaluate` on volumes.

    Raises:
        InputError: There is no such method or volume, or a flag does not fit.
    """
    _check(arguments)
    thickening = Thickening.of(arguments.ratio or 4.0, arguments.slice_profile or "gaussian", arguments.gap)
    effort = methods.Effort(arguments.steps, arguments.minutes, arguments.seed)
    if effort.steps is None and effort.minutes is None:
        effort = dataclasses.replace(effort, steps=_STEPS)
    names = list(dict.fromkeys([REFERENCE, *arguments.models]))
    loaded = [methods.load(name, effort) for name in names]
    volume_results.require_methods(method.name for method in loaded)
    folder = pathlib.Path(arguments.output or "evaluation")
    cli.check_writable(folder)
    found = scan.volumes(arguments.volumes)
    keys = patients.keys(found, patients.compiled(arguments.patient_pattern))
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    scored = [
        _Case(volume, f"volume_{index:03d}", numbers[key], arguments.threshold)
        for index, (volume, key) in enumerate(zip(found, keys, strict=True))
    ]
    protocol, notes = _protocol(scored, thickening)
    training = {method.name: method.description for method in loaded}
    merged = volume_results.merged(arguments.merge, protocol, training)
    rows, pictures = _score(scored, loaded, thickening)
    models = volume_results.summarize(rows, training)
    notes += verdicts.few(models)
    content = volume_results.write(folder, protocol, rows, merged | models, notes)
    _draw(folder / "montage.png", rows, loaded[-1].name, pictures)
    for note in notes:
        print(f"warning: {note}", file=sys.stderr)
    return VolumeEvaluation(folder, content)


def _check(arguments):
    for name in ("steps", "minutes"):
        if getattr(arguments, name) is not None and not getattr(arguments, name) > 0:
            raise InputError(f"--{name} must be above 0. Received: {getattr(arguments, name)}")
    if not 0 <= arguments.seed < 2**32:
        raise InputError(f"seed must be in [0, 2**32). Received: {arguments.seed}")


@dataclasses.dataclass
class _Case:
    """A volume that is scored."""

    found: scan.Found
    name: str
    patient: int
    threshold: float | None

    def read(self) -> Source:
        """Reads the thin volume."""
        return reading.read(list(self.found.paths), self.found.series)

    def score(self, loaded: list[Method], thickening: Thickening) -> "tuple[list[dict], Picture]":
        """Returns the scores of each method, and what the montage shows."""
        source = self.read()
        thin = source.volume
        thick, profile, grid, inside = thickening.apply(thin)
        truth = Truth(thin.values[inside], grid.spacing, thick.grid.spacing[0], self.threshold)
        scale, rows, drawn, notes = scale_of(thick, source), [], {}, {}
        for method in loaded:
            values = method.restore(thick, profile, grid, scale)
            scores = measure(truth, values)
            notes[method.name] = f"foreground {scores['psnr_foreground']:.2f} dB"
            if method in (loaded[0], *loaded[-2:]):
                drawn[method.name] = values
            rows.append({"volume": self.name, "patient": self.patient, "method": method.name} | scores)
        title = f"{self.name}, ratio {thickening.ratio:g}, {thickening}"
        unit = "HU" if thin.modality == "CT" else ""
        return rows, Picture(volume_planes.collect(thick, drawn, grid, truth.values), title, notes, unit)


@dataclasses.dataclass(frozen=True)
class Picture:
    """Arguments of `volume_montage.save_planes`."""

    planes: volume_planes.Planes
    title: str
    notes: dict[str, str]
    unit: str


def _protocol(cases, thickening) -> tuple[VolumeProtocol, list[str]]:
    """Returns the protocol, which needs all values, and notes; results of another one are refused before training."""
    digest, notes = VolumesHash(), []
    for case in bar(cases, desc="reading", unit=" volumes", leave=False):
        thin = case.read().volume
        thickening.apply_to_grid(thin.grid)
        if not thin.values.max() > thin.values.min():
            raise InputError(f"{case.found.path}: all voxels have one value; there is nothing to score")
        digest.add(thin)
        between, pixel = thin.grid.spacing[0], min(thin.grid.spacing[1:])
        if between > _ISOTROPIC * pixel:
            notes.append(
                f"{case.name} has slices {between:.3g} mm apart and pixels of {pixel:.3g} mm: what it is compared "
                "with is not thin itself"
            )
    threshold = cases[0].threshold
    more = {} if threshold is None else {"threshold": f"{threshold:g}"}
    return VolumeProtocol(len(cases), digest.hexdigest(), thickening.ratio, str(thickening), **more), notes


def _score(cases, loaded, thickening) -> tuple[list[dict], dict[str, Picture]]:
    rows, pictures = [], {}
    for case in bar(cases, desc="scoring", unit=" volumes", leave=False):
        found, pictures[case.name] = case.score(loaded, thickening)
        rows += found
    return rows, pictures


def _draw(path, rows, method, pictures):
    """Draws the volume with the median gain of the last method, where matplotlib is installed."""
    if (volume_montage := drawing("volume_montage")) is None:
        return
    own, other = (
        {row["volume"]: row["psnr_foreground"] for row in rows if row["method"] == name} for name in (method, REFERENCE)
    )
    gains = {volume: score - other[volume] for volume, score in own.items()}
    picture = pictures[sorted(gains, key=gains.get)[len(gains) // 2]]
    volume_montage.save_planes(path, picture.planes, title=picture.title, notes=picture.notes, unit=picture.unit)
