"""`Config`: the hyperparameters and inputs of a training run, as one frozen dataclass."""

import dataclasses
import hashlib
import json
import math
import os
import pathlib

from tfmisr import losses, models
from tfmisr.config import checks, initial_weights
from tfmisr.models import discriminators

ADVERSARIAL_LOSSES = ("vanilla", "lsgan", "hinge", "relativistic")


def _option(default, text: str, choices=None, several=False):
    metadata = {"help": text, "choices": choices, "several": several}
    return dataclasses.field(default=default, metadata=metadata)


def _modules(folder: str) -> list[str]:
    return sorted(path.stem for path in (pathlib.Path(__file__).parents[1] / folder).glob("[!_]*.py"))


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything a training run depends on; `python -m tfmisr.fit --help` explains each field.

    Raises:
        InputError: A value has the wrong type, is out of range, or contradicts another field.
    """

    dataset: str = _option("chest_phantom", "dataset's name, or a folder of images")
    manual_dir: tuple[str, ...] = _option((), "folders with the dataset's source files", several=True)
    data_dir: str | None = _option(None, "folder of prepared datasets (default: that of TFDS)")
    patient_pattern: str | None = _option(
        None, "for a folder: regular expression with one group, the patient identifier in a file name"
    )
    model: str = _option("cnn5", "model, model/variant or model/argument=value,...: " + ", ".join(models.names()))
    scale: int = _option(
        4,
        "upsampling factor; 1: a network that refines interpolated planes of a volume (--degradation through_plane)",
        (models.PLANE_SCALE, *models.SCALES),
    )
    degradation: str = _option(
        "bicubic",
        "degradation model that generates LR from HR, with parameters in parentheses, such as 'xray(photons=5000)': "
        + ", ".join(["bicubic", *_modules("degradations")])
        + "; bicubic(rounding=pillow8): Pillow's resize of 8-bit images",
    )
    blur_sigma: float = _option(0.0, "standard deviation of the Gaussian blur before down-sampling, in HR pixels")
    noise_std: float = _option(0.0, "standard deviation of the noise of the LR image, as a fraction of the range")
    quantize_lr: bool = _option(True, "round the LR image to the bit depth of the source")
    patch_size: int = _option(24, "side of a training patch, in LR pixels")
    batch_size: int = _option(16, "patches per step, over all devices")
    hard_patches: float = _option(
        0.0,
        "hard-example mining: fraction of the patches whose position is sampled in proportion to the bicubic "
        "interpolation error, not uniformly",
    )
    burned_in: float = _option(
        0.0,
        "fraction of the patches into which text, markers, rulers, collimation edges and lines are drawn, as "
        "radiographs have them",
    )
    intensity_augmentation: float = _option(
        0.0,
        "fraction of the patches whose gray levels pass through a random look-up table in both resolutions: inversion "
        "(MONOCHROME1), gamma, sigmoid, window",
    )
    subpixel_shifts: bool = _option(
        False,
        "let patches begin at any HR pixel, so that the grid of LR pixels falls on a structure in scale * scale ways",
    )
    steps: int | None = _option(None, "training steps (default: 1500 without --epochs)")
    epochs: float | None = _option(None, "passes over the training images, one patch of each image per pass")
    loss: str = _option(
        "mae",
        "a loss or a weighted sum, such as 'charbonnier + 0.1*ms_ssim(scales=2)': " + ", ".join(losses.names()),
    )
    optimizer: str = _option("adam", "optimizer", ("adam", "sgd", "muon"))
    learning_rate: float = _option(1e-3, "learning rate after the warm-up")
    momentum: float = _option(0.9, "momentum of sgd and muon")
    beta_1: float = _option(0.9, "first moment's decay of adam, and of muon's biases")
    beta_2: float = _option(0.999, "second moment's decay of adam, and of muon's biases")
    schedule: str = _option("cosine", "decay of the learning rate to 0", ("constant", "cosine", "linear"))
    warmup_steps: int = _option(0, "steps of linear learning-rate warm-up from 0, before the decay")
    auto_warmup: bool = _option(
        True,
        "without --warmup_steps: multiply the schedule by a linear warm-up over the first 200 steps, so that even a "
        "run of a few steps does not end worse than bicubic interpolation",
    )
    gradient_accumulation_steps: int = _option(1, "steps whose gradients are accumulated for one update")
    ema_decay: float = _option(
        0.0, "decay per step of the exponential moving average of the weights, which is saved; 0: no average"
    )
    initial_weights: str | None = _option(
        None, "start from the weights of a run, a .keras or .tflite file or a model that comes with tfmisr"
    )
    quantization_aware: bool = _option(
        False, "quantization-aware training for an int8 file, as a fine-tuning stage (docs/training.md)"
    )
    clip_fraction: float = _option(
        1.0,
        "quantization-aware training of a chain starts with each channel clipped at this fraction of its maximum: "
        "below 1, anatomy has finer levels, and letters have to be learned again",
    )
    uncertainty: str | None = _option(
        None,
        "train the uncertainty head of a model: a run, a .keras or .tflite file or a model that comes with tfmisr, "
        "which stays as it is; python -m tfmisr.export then writes NAME.uncertainty.tflite",
    )
    discriminator: str | None = _option(
        None, "train as a GAN with this discriminator: " + ", ".join(discriminators.names())
    )
    discriminator_learning_rate: float | None = _option(None, "default: --learning_rate")
    pixel_weight: float = _option(1.0, "GAN: weight of the pixel loss")
    adversarial_weight: float = _option(1e-3, "GAN: weight of the adversarial loss")
    feature_matching_weight: float = _option(1e-2, "GAN: weight of the feature-matching loss")
    adversarial_loss: str = _option("vanilla", "GAN: adversarial loss", ADVERSARIAL_LOSSES)
    spectral_normalization: bool = _option(False, "GAN: spectral normalization of the discriminator's layers")
    r1_weight: float = _option(0.0, "GAN: weight (gamma) of the discriminator's R1 gradient penalty; 0: none")
    r1_interval: int = _option(16, "GAN: lazy regularization: steps between two R1 penalties, weighted by as many")
    feature_discriminator: str | None = _option(
        None, "GAN: a second discriminator, on features of --feature_network, such as srfeat"
    )
    feature_network: str = _option(
        "perceptual(layers=conv5_4, activation=after)",
        "GAN: network and layer of these features, in the syntax of the perceptual loss of --loss",
    )
    feature_adversarial_weight: float = _option(1e-3, "GAN: weight of the adversarial loss on features")
    unpaired: bool = _option(
        False,
        "train a CycleGAN on HR and LR images of different patients (needs --discriminator); --loss is the distance "
        "in the cycle and identity losses",
    )
    lr_dataset: str | None = _option(
        None, "unpaired: dataset or folder of LR images (default: half of the patients, degraded)"
    )
    lr_manual_dir: tuple[str, ...] = _option(
        (), "unpaired: folders with the source files of --lr_dataset", several=True
    )
    cycle_weight: float = _option(10.0, "unpaired: weight of the cycle-consistency loss")
    identity_weight: float = _option(5.0, "unpaired: weight of the identity loss, on bicubically resized images")
    image_pool: int = _option(50, "unpaired: size of the pool of earlier generated images; 0: none")
    mixed_precision: str = _option("float32", "dtype policy of Keras", ("float32", "mixed_bfloat16", "mixed_float16"))
    distribute: str = _option(
        "none",
        "data parallelism: mirrored over all GPUs of this machine with TensorFlow, data_parallel over all devices of "
        "all processes with KERAS_BACKEND=jax",
        ("none", "mirrored", "data_parallel"),
    )
    data_workers: int = _option(
        0, "processes that make the training batches; 0: threads of this process. The batches are the same"
    )
    device_data: bool = _option(
        False,
        "keep the training images in device memory, where each step takes its patches from; the batches are the same "
        "(not for degradations with noise or random kernels)",
    )
    jit_compile: bool = _option(False, "compile the training step with XLA (needs --no-deterministic)")
    deterministic: bool = _option(True, "same seed on the same machine gives the same weights, bit for bit")
    seed: int = _option(0, "seed of all random draws")
    save_every: int = _option(100, "steps between checkpoints, and between rows of history.csv")
    validate_every: int = _option(500, "steps between validations; a multiple of --save_every")
    workdir: str | None = _option(None, "directory of the run (default: runs/ and a name derived from the other flags)")

    def __post_init__(self):
        checks.check(self)

    @property
    def key(self) -> str:
        """Eight hexadecimal digits of a SHA-256: equal for two runs if and only if they train the same."""
        defaults = {**_DEFAULTS, **EARLIER_DEFAULTS}
        hashed = {k: v for k, v in self.identity().items() if k in _ALWAYS_HASHED or v != defaults[k]}
        if self.initial_weights:
            hashed["initial_weights"] = initial_weights.digest(self.initial_weights)
        if self.uncertainty:
            hashed["uncertainty"] = initial_weights.digest(self.uncertainty, "uncertainty")
        return hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()[:8]

    @property
    def folder(self) -> pathlib.Path:
        """The run's directory: `workdir`, or `runs/<dataset>-<model>-x<scale>-<key>`."""
        if self.workdir:
            return pathlib.Path(self.workdir).expanduser()
        path = pathlib.Path(self.dataset).expanduser()
        is_path = self.dataset.startswith(".") or path.is_absolute() or path.is_dir()
        dataset = pathlib.Path(os.path.abspath(path)).name if is_path else self.dataset.replace("/", "-")
        model = self.model.replace("/", "-") + ("-gan" if self.discriminator else "")
        rest = f"-{model}-x{self.scale}-{self.key}"
        while len(os.fsencode(dataset + rest)) > 255 and dataset:  # the longest name that file systems take
            dataset = dataset[:-1]
        return pathlib.Path("runs") / (dataset + rest)

    def total_steps(self, images: int) -> int:
        """Returns the number of training steps for a training split of `images` images."""
        if self.steps is None and self.epochs is not None:
            return math.ceil(self.epochs * images / self.batch_size)
        return self.steps or 1500

    def identity(self) -> dict:
        """Returns the fields that change what is trained: all except paths and what feeds the same batches."""
        fields = dataclasses.asdict(self)
        return {k: v for k, v in fields.items() if k not in _PATHS + _FEEDS}

    def to_json(self) -> str:
        """Returns the text of `config.json`."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


# Paths are no part of a run's identity; `tfmisr.training.run_directory` compares what they hold.
_PATHS = ("workdir", "data_dir", "manual_dir", "lr_manual_dir", "initial_weights", "uncertainty")
# Ways to make the same batches, bit for bit: a run may be resumed with another one.
_FEEDS = ("data_workers", "device_data")
_DEFAULTS = {field.name: field.default for field in dataclasses.fields(Config)}
# The value that a field has in a file written before the field existed, where that is not today's default.
EARLIER_DEFAULTS = {"auto_warmup": False}
# The fields of version 0.1. A later field enters the key only where it differs from its default, so that the default
# directories of existing runs keep their names.
_ALWAYS_HASHED = frozenset(
    "dataset patient_pattern model scale blur_sigma noise_std quantize_lr patch_size batch_size steps epochs loss "
    "optimizer learning_rate momentum beta_1 beta_2 schedule warmup_steps gradient_accumulation_steps ema_decay "
    "discriminator discriminator_learning_rate pixel_weight adversarial_weight feature_matching_weight "
    "mixed_precision distribute jit_compile deterministic seed save_every validate_every".split()
)
