"""Self-supervised through-plane super-resolution: a network trained on the volume's own slices (V-05).

In-plane images have the detail that thick slices lack. Lines of them, thickened by the same profile at the same
distance and interpolated by the same cubic spline, are the input of a residual network whose target is the image; the
network then refines the sagittal and coronal planes of the interpolated volume. Where it does not restore held-out
slices better than the interpolation, the interpolation is the result.

What it is made of:
    * the training pairs and the residual network over an interpolation: Jog, Carass and Prince, Self super-resolution
      for magnetic resonance images, MICCAI 2016; Zhao et al., SMORE: A Self-supervised Anti-aliasing and
      Super-resolution Algorithm for MRI, IEEE TMI 2021. SMORE trains two networks of the EDSR kind, for anti-aliasing
      and for super-resolution, and fuses several rotations in the Fourier domain; here one small network (Kim et al.,
      VDSR, CVPR 2016) does both, as the interpolation of its input is aliased as the volume is
    * no other volume, and isotropic restoration by planes in two orientations: Weigert et al., Isotropic
      reconstruction of 3D fluorescence microscopy images, MICCAI 2017 (from whose restoration CARE the mean over
      orientations comes); iSMORE iterates this with the result as the training data, which is not done here
    * any ratio, and the profile's width apart from the distance of the slices (gap, overlap): Remedios et al., ECLARE,
      2024; here by matrices along the slice axis on half-voxel centers
    * consistency with the acquired slices: `tfmisr.edge.volumes.consistency`; the papers above have none
"""

import dataclasses
import hashlib
import math
import pathlib
import typing
from collections.abc import Callable

import numpy as np

from tfmisr.edge.volumes import planes, resampling
from tfmisr.edge.volumes.consistency import SliceConsistency
from tfmisr.edge.volumes.grid import VolumeGrid
from tfmisr.edge.volumes.planes import Scale
from tfmisr.edge.volumes.slice_profile import SliceProfile
from tfmisr.edge.volumes.volume import Volume
from tfmisr.volumes import plane_run
from tfmisr.volumes.patches import OwnSlices
from tfmisr.volumes.self_check import SelfCheck, check

if typing.TYPE_CHECKING:
    import keras

    from tfmisr.volumes.plane_training import TrainingSettings

Progress = Callable[[float, int], None]


@dataclasses.dataclass(frozen=True)
class Trained:
    """A network trained on a volume.

    Attributes:
        predict: For `tfmisr.edge.volumes.planes.upsample`.
        network: The Keras model, with averaged weights.
        scale: The values that it sees as 0 and 1.
        steps: Training steps.
        seconds: Their wall time, of all runs together where it was resumed.
        check: What the held-out slices say.
    """

    predict: planes.Predict
    network: "keras.Model"
    scale: Scale
    steps: int
    seconds: float
    check: SelfCheck

    @property
    def weights_sha256(self) -> str:
        """Hash of the weights, for the identity of a derived series."""
        digest = hashlib.sha256()
        for weight in self.network.get_weights():
            digest.update(np.ascontiguousarray(weight).tobytes())
        return digest.hexdigest()


def train(
    volume: Volume,
    grid: VolumeGrid,
    profile: SliceProfile,
    settings: "TrainingSettings",
    scale: Scale | None = None,
    workdir: pathlib.Path | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Trains a network on a volume and checks it on held-out slices.

    Args:
        volume: The acquired slices.
        grid: Grid of the new slices.
        profile: Profile of the acquired slices.
        settings: How long, from which weights and seed.
        scale: The values that the network sees as 0 and 1; by default those of this volume. Weights of a network that
            was trained on other volumes need its scale.
        workdir: Folder for checkpoints, and for what `python -m tfmisr.export` takes.
        progress: Called with the fraction of the training done, and the step.

    Raises:
        InputError: The slices are too small, or the folder or the weights do not fit.
    """
    from tfmisr.volumes.plane_training import PlaneTraining

    scale = scale or planes.UnitScale.of(volume.values)
    slices = OwnSlices(volume, grid, profile, scale)
    identity = hashlib.sha256(np.ascontiguousarray(volume.values))
    identity.update(f"{volume.grid} {grid.spacing} {profile} {scale}".encode())
    training = PlaneTraining(slices, settings, workdir, identity.hexdigest())
    network = training.run(progress)
    if workdir is not None:
        plane_run.write(workdir, network, slices, {"steps": training.step, "seed": settings.seed})
    predict = predictor(network)
    seconds = float(training.seconds.numpy())
    return Trained(predict, network, scale, training.step, seconds, check(slices, predict))


def predictor(network: "keras.Model") -> planes.Predict:
    """Returns a Keras model as a function of arrays (planes, slices, width, 1) of any size.

    Height and width are mirrored to a multiple of the network's stride, and cut again.
    """
    import tensorflow as tf

    from tfmisr.volumes.plane_network import STRIDE

    infer = tf.function(lambda batch: network(batch, training=False), reduce_retracing=True, autograph=False)

    def predict(batch):
        height, width = batch.shape[1:3]
        padded = np.pad(batch, ((0, 0), (0, -height % STRIDE), (0, -width % STRIDE), (0, 0)), "symmetric")
        return infer(tf.constant(padded)).numpy()[:, :height, :width]

    return predict


class Effort(typing.Protocol):
    """How long to train: `tfmisr.volumes.methods.Effort`."""

    steps: int | None
    minutes: float | None
    seed: int


def restore(volume: Volume, profile: SliceProfile, grid: VolumeGrid, effort: Effort) -> np.ndarray:
    """Returns the values of the default method of `python -m tfmisr.volume` on a grid: trained, fused and consistent.

    Args:
        volume: The acquired slices.
        profile: Their profile.
        grid: Grid of the new slices.
        effort: Steps or minutes, and the seed.
    """
    from tfmisr.volumes.plane_training import TrainingSettings

    settings = TrainingSettings(effort.steps, effort.minutes, effort.seed)
    trained = train(volume, grid, profile, settings)
    if not trained.check.passed:
        return resampling.resample(volume, grid).values
    memory = max(4.0, 16 * math.prod(grid.shape) / 2**30)
    values = planes.upsample(volume, grid, trained.predict, scale=trained.scale, memory=memory).values
    projection = SliceConsistency(profile, volume.grid, grid)
    projection.correct(values, volume.values, lowest=float(volume.values.min()))
    return values
