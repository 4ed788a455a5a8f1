"""`python -m tfmisr.evaluate --volumes`: thin volumes are thickened, restored by each method, scored in 3-D (V-13)."""

import argparse
import dataclasses
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterator

from tfmisr import cli
from tfmisr.datasets.image_folder import patients
from tfmisr.datasets.volume_folder import scan
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import atomic_write
from tfmisr.edge.volumes import Volume
from tfmisr.evaluation import volume_results
from tfmisr.evaluation.volume_measures import Truth, measure
from tfmisr.evaluation.volume_protocol import REFERENCE, VolumeProtocol, VolumesHash
from tfmisr.evaluation.volume_results import VolumeEvaluation
from tfmisr.progress import bar
from tfmisr.volumes import methods
from tfmisr.volumes.methods import Method
from tfmisr.volumes.thickening import Thickening

_ISOTROPIC = 1.5  # distance between slices over pixel spacing from which a note is given
_STEPS = 900  # of a self-supervised method where neither steps nor minutes are given
# Flags of an evaluation on images.
_OF_IMAGES = (
    "dataset manual_dir data_dir scale crop_border degradation blur_sigma noise_std quantize_lr features "
    "features_range max_images"
).split()


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
    with tempfile.TemporaryDirectory() as pictures:
        rows, protocol, notes = _score(scored, loaded, thickening, pathlib.Path(pictures))
        models = volume_results.summarize(rows, {method.name: method.description for method in loaded})
        models = volume_results.merged(arguments.merge, protocol, models) | models
        content = volume_results.write(folder, protocol, rows, models, notes)
        _keep_typical(rows, loaded[-1].name, pathlib.Path(pictures), folder)
    for note in notes:
        print(f"warning: {note}", file=sys.stderr)
    return VolumeEvaluation(folder, content)


def _check(arguments):
    given = next((name for name in _OF_IMAGES if getattr(arguments, name) not in (None, [])), None)
    if given:
        raise InputError(f"--{given} is for images; leave it out with --volumes")
    if arguments.processes > 1 or getattr(arguments, "cluster", None):
        raise InputError("volumes are scored in one process; leave out --processes and --cluster with --volumes")
    for name in ("steps", "minutes"):
        if getattr(arguments, name) is not None and not getattr(arguments, name) > 0:
            raise InputError(f"--{name} must be above 0. Received: {getattr(arguments, name)}")


@dataclasses.dataclass
class _Case:
    """A volume that is scored."""

    found: scan.Found
    name: str
    patient: int
    threshold: float | None

    def read(self) -> Volume:
        """Returns the thin volume."""
        from tfmisr.edge.volumes import reading

        return reading.read(list(self.found.paths), self.found.series).volume

    def score(self, thin: Volume, loaded: list[Method], thickening: Thickening, folder: pathlib.Path) -> Iterator[dict]:
        """Yields the scores of each method, and draws the montage."""
        thick, profile, grid, inside = thickening.apply(thin)
        truth = Truth(thin.values[inside], grid.spacing, thick.grid.spacing[0], self.threshold)
        drawn, notes = {}, {}
        for method in loaded:
            values = method.restore(thick, profile, grid)
            scores = measure(truth, values)
            notes[method.name] = f"foreground {scores['psnr_foreground']:.2f} dB"
            if method in (loaded[0], *loaded[-2:]):
                drawn[method.name] = values
            yield {"volume": self.name, "patient": self.patient, "method": method.name} | scores
        title = f"{self.name}, ratio {thickening.ratio:g}, {thickening}"
        unit = "HU" if thin.modality == "CT" else ""
        picture = folder / f"{self.name}.png"
        _draw(picture, thick, drawn, grid, truth.values, title=title, notes=notes, unit=unit)


def _draw(*arguments, **options):
    """Draws a montage where matplotlib is installed: an evaluation with JAX does not need it."""
    try:
        from tfmisr.evaluation import volume_montage
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        return
    volume_montage.save(*arguments, **options)


def _score(cases, loaded, thickening, folder):
    """Returns the scores, the protocol and notes."""
    digest, rows, notes = VolumesHash(), [], []
    with bar(total=len(cases) * len(loaded), desc="scoring", unit=" results", leave=False) as progress:
        for case in cases:
            thin = case.read()
            digest.add(thin)
            if thin.grid.spacing[0] > _ISOTROPIC * min(thin.grid.spacing[1:]):
                notes.append(
                    f"{case.name} has slices {thin.grid.spacing[0]:.3g} mm apart and pixels of "
                    f"{min(thin.grid.spacing[1:]):.3g} mm: what it is compared with is not thin itself"
                )
            for row in case.score(thin, loaded, thickening, folder):
                rows.append(row)
                progress.update()
    threshold = cases[0].threshold
    more = {} if threshold is None else {"threshold": f"{threshold:g}"}
    found = VolumeProtocol(len(cases), digest.hexdigest(), thickening.ratio, str(thickening), **more)
    return rows, found, notes


def _keep_typical(rows, method, pictures, folder):
    """Copies the montage of the volume with the median gain of the last method."""
    own, other = (
        {row["volume"]: row["psnr_foreground"] for row in rows if row["method"] == name} for name in (method, REFERENCE)
    )
    gains = {volume: score - other[volume] for volume, score in own.items()}
    picture = pictures / f"{sorted(gains, key=gains.get)[len(gains) // 2]}.png"
    if not picture.exists():
        print("no montage.png: matplotlib is not installed", file=sys.stderr)
        return
    with atomic_write(folder / "montage.png") as temporary:
        shutil.copyfile(picture, temporary)
