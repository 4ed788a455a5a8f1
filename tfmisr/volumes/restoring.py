"""The methods of `python -m tfmisr.volume`: an interpolation, a network of a file, or one trained on the volume."""

import contextlib
import dataclasses
import os
import pathlib
import sys
import typing
from collections.abc import Iterator

import numpy as np

from tfmisr import cli
from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import planes, resampling
from tfmisr.edge.volumes.consistency import SliceConsistency
from tfmisr.edge.volumes.planes import UnitScale
from tfmisr.edge.volumes.volume import Volume
from tfmisr.progress import bar

if typing.TYPE_CHECKING:
    from tfmisr.volumes.command import Task

_NAMES = {"spline": "cubic spline", "linear": "linear interpolation", "lanczos": "Lanczos interpolation"}


@dataclasses.dataclass(frozen=True)
class Network:
    """A network of planes that was used.

    Attributes:
        predict: For `tfmisr.edge.volumes.planes.upsample`.
        scale: The values that it sees as 0 and 1.
        name: For the Attributes of a derived series.
        weights_sha256: Hash of its weights.
        parameters: How it was trained, for the identity of a derived series.
    """

    predict: planes.Predict
    scale: UnitScale
    name: str
    weights_sha256: str
    parameters: str = ""


@dataclasses.dataclass(frozen=True)
class Restored:
    """A result.

    Attributes:
        volume: Values on the new grid.
        method: How, for texts.
        statements: What was measured, a sentence each.
        network: The network, `None` where an interpolation is the result.
        consistency: The correction, for texts; empty without.
    """

    volume: Volume
    method: str
    statements: tuple[str, ...]
    network: Network | None = None
    consistency: str = ""


def restore(task: "Task") -> Restored:
    """Returns the volume of a task with thinner slices.

    Raises:
        InputError: The network does not fit the volume, or cannot be trained on it.
    """
    method = task.request.method
    if method in resampling.METHODS:
        return _interpolated(task, method, ())
    if method == "model":
        network, statements = _of_file(task)
        return _refined(task, network, statements)
    with cli.naming_extras("--method self"):
        return _trained(task)


def _interpolated(task, method, statements) -> Restored:
    volume = resampling.resample(task.source.volume, task.grid, method)
    if not statements:
        statements = (
            f"{_NAMES[method]}: no network, so nothing was checked and the slices stay as thick as they were",
        )
    return Restored(volume, _NAMES[method], statements)


def _of_file(task) -> tuple[Network, tuple[str, ...]]:
    from tfmisr.edge.volumes.plane_model import PlaneModel

    model = PlaneModel(task.request.model, task.request.threads or cores())
    scale = model.scale(task.source.volume, task.source.scale)
    given = (task.source.volume, task.grid, task.profile, scale)
    if not task.request.force:
        model.require(*given)
    network = Network(model, scale, model.name, model.card["weights_sha256"])
    unusual = [f"{model.name}: {remark}" for remark in model.remarks(*given)]
    found = f"{model.name}: trained beforehand; the self-check is of networks that this command trains"
    return network, (*unusual, found)


def cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _trained(task) -> Restored:
    from tfmisr.volumes import self_training
    from tfmisr.volumes.plane_training import TrainingSettings

    request = task.request
    _limit_threads(request.threads)
    settings = TrainingSettings(request.steps, request.minutes, request.seed, weights=request.weights)
    scale = UnitScale.like(task.source.scale) if request.weights else UnitScale.of(task.source.volume.values)
    workdir = None if request.workdir is None else pathlib.Path(request.workdir).expanduser()
    with _percent("training") as progress:
        trained = self_training.train(
            task.source.volume, task.grid, task.profile, settings, scale, workdir, lambda done, _: progress(done)
        )
    found = (
        f"trained {trained.steps:,} steps in {trained.seconds / 60:.1f} min",
        trained.check.statement,
    )
    if not trained.check.passed:
        return _interpolated(task, "spline", found)
    parameters = f"{trained.steps} steps, seed {request.seed}" + (", from other weights" if request.weights else "")
    name = "self-trained planes"
    return _refined(task, Network(trained.predict, scale, name, trained.weights_sha256, parameters), found)


def _limit_threads(count: int | None) -> None:
    """Sets the threads of TensorFlow; after its first operation that is impossible, which a warning says."""
    if count is None:
        return
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(count)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        print("warning: TensorFlow has started with other threads; --threads is ignored", file=sys.stderr)


def _refined(task, network, statements) -> Restored:
    request, source = task.request, task.source.volume
    with _percent("refining planes") as progress:
        done = [0.0]

        def advance(part: float) -> None:
            done[0] += part
            progress(done[0])

        volume = planes.upsample(
            source,
            task.grid,
            network.predict,
            request.planes,
            request.fusion,
            request.rotations,
            network.scale,
            request.memory,
            advance,
        )
    if not np.isfinite(volume.values).all():
        raise InputError("the network gave values that are not finite; use --method spline, or another --seed")
    if not request.consistency:
        return Restored(volume, _method(request), statements, network)
    note, more = _make_consistent(task, volume)
    return Restored(volume, _method(request), (*more, *statements), network, note)


def _method(request) -> str:
    return "self-supervised network" if request.method == "self" else "through-plane network"


def _make_consistent(task, volume) -> tuple[str, tuple[str, ...]]:
    """Corrects in place; returns the text for the result's Attributes, and what was measured."""
    source, level = task.source.volume, abs(task.source.scale.slope)
    projection = SliceConsistency(task.profile, source.grid, task.grid)
    before = projection.largest_error(volume.values, source.values)
    projection.correct(volume.values, source.values, level, float(source.values.min()))
    after = projection.largest_error(volume.values, source.values)
    measured = (
        f"consistency: averaged over the slice profile, the new slices give the acquired ones to within "
        f"{after / level:.3g} levels (before the correction {before / level:.3g})"
    )
    return f"slice profile {task.profile}, dead zone 0.25 levels", (measured,)


@contextlib.contextmanager
def _percent(what: str) -> Iterator[typing.Callable[[float], None]]:
    """Yields a function of the fraction done, which a progress bar shows."""
    with bar(total=100, desc=what, unit=" %", leave=False) as shown:

        def progress(fraction: float) -> None:
            shown.update(round(100 * fraction, 1) - shown.n)

        yield progress
