"""Optimizers and learning-rate schedules."""

import math

import keras
from keras import ops

from tfmisr.config import Config
from tfmisr.edge.errors import InputError

# Adam's first steps change every weight by the learning rate, however small its gradient: a network that is the bicubic
# interpolation at initialization is 7 dB worse after ten steps of 0.001. With this warm-up a run of any length ends no
# worse than it started, and the default run gains more than without (docs/training.md).
AUTO_WARMUP = 200


@keras.saving.register_keras_serializable("tfmisr")
class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up from 0 to `peak`, then a constant rate or a decay to 0 at the last step.

    Args:
        peak: Learning rate after the warm-up.
        total_steps: Steps of the whole run.
        warmup_steps: Steps of the warm-up, before the decay.
        decay: `constant`, `linear` or `cosine` (half a period, Loshchilov and Hutter, SGDR, ICLR 2017).
        damped_steps: Steps in which the schedule is multiplied by a factor that rises linearly to 1, without delaying
            the decay (Ma and Yarats, On the adequacy of untuned warmup for adaptive optimization, AAAI 2021,
            https://arxiv.org/abs/1910.04209).
    """

    def __init__(
        self,
        peak: float,
        total_steps: int,
        warmup_steps: int = 0,
        decay: str = "constant",
        damped_steps: int = 0,
    ):
        self.peak, self.total_steps = peak, total_steps
        self.warmup_steps, self.decay, self.damped_steps = warmup_steps, decay, damped_steps

    def __call__(self, step):
        step = ops.cast(step, "float32")
        left = max(self.total_steps - self.warmup_steps, 1)
        done = ops.clip((step - self.warmup_steps) / left, 0.0, 1.0)
        factor = {
            "constant": lambda: ops.ones_like(done),
            "linear": lambda: 1.0 - done,
            "cosine": lambda: 0.5 * (1.0 + ops.cos(math.pi * done)),
        }[self.decay]()
        for rise in filter(None, (self.warmup_steps, self.damped_steps)):
            factor = ops.minimum((step + 1.0) / rise, 1.0) * factor
        return self.peak * factor

    def get_config(self):
        keys = ("peak", "total_steps", "warmup_steps", "decay", "damped_steps")
        return {key: getattr(self, key) for key in keys}


# Layers that output the image: with so few channels there is no matrix worth orthogonalizing.
_IMAGE_LAYERS = ("output_conv", "super_res")
_IMAGE_CHANNELS = 3


@keras.saving.register_keras_serializable("tfmisr")
class Muon(keras.optimizers.Muon):
    """Muon for convolutions: orthogonalizes the update of each kernel as a matrix `(height * width * in, out)`.

    Biases, and the layers whose input or output is an image, are updated by Adam with the same learning rate; Muon's
    updates are scaled to the same root mean square, 0.2. There is no weight decay.

    Args:
        learning_rate: A number or a schedule.
        adam_beta_1: Decay of Adam's first moment.
        adam_beta_2: Decay of Adam's second moment.
        **kwargs: As of `keras.optimizers.Muon`.

    Reference:
        Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024,
        https://kellerjordan.github.io/posts/muon; Liu et al., Muon is scalable for LLM training, 2025,
        https://arxiv.org/abs/2502.16982, for the scale of an update.
    """

    def __init__(
        self, learning_rate: float | LearningRate = 1e-3, adam_beta_1: float = 0.9, adam_beta_2: float = 0.999, **kwargs
    ):
        if not hasattr(keras.optimizers.Muon, "lr_adjust"):
            raise InputError(
                f"optimizer muon needs Keras 3.13 or later, which needs Python 3.11. Received: {keras.__version__}"
            )
        kwargs = {"weight_decay": None, "adam_weight_decay": None, **kwargs}
        super().__init__(learning_rate, adam_beta_1=adam_beta_1, adam_beta_2=adam_beta_2, **kwargs)

    def _should_use_adamw(self, variable):
        if len(variable.shape) < 2 or min(variable.shape[-2:]) <= _IMAGE_CHANNELS:
            return True
        return any(name in variable.path for name in _IMAGE_LAYERS)

    @staticmethod
    def _matrix(tensor):
        return ops.reshape(tensor, (-1, tensor.shape[-1]))

    def _muon_update_step(self, gradient, variable, lr, m):
        self.assign(m, self.momentum * m + gradient)
        update = gradient + self.momentum * m if self.nesterov else m
        update = self.zeropower_via_newtonschulz5(self._matrix(update), self.ns_steps)
        self.assign_sub(variable, ops.reshape(self.lr_adjust(lr * update), variable.shape))


def create(config: Config, total_steps: int, learning_rate: float) -> keras.optimizers.Optimizer:
    """Returns the optimizer of a run's configuration.

    Args:
        config: The run.
        total_steps: Training steps of the run.
        learning_rate: Learning rate after the warm-up.
    """
    every = config.gradient_accumulation_steps
    rate = learning_rate
    damped = AUTO_WARMUP if config.auto_warmup and not config.warmup_steps else 0
    if config.schedule != "constant" or config.warmup_steps or damped:
        # Keras passes the number of steps, not of updates, to a schedule when gradients are accumulated.
        rate = LearningRate(learning_rate, total_steps, config.warmup_steps, config.schedule, damped)
    accumulation = {"gradient_accumulation_steps": every} if every > 1 else {}
    if config.optimizer == "sgd":
        return keras.optimizers.SGD(rate, momentum=config.momentum, **accumulation)
    if config.optimizer == "muon":
        return Muon(rate, config.beta_1, config.beta_2, momentum=config.momentum, **accumulation)
    return keras.optimizers.Adam(rate, beta_1=config.beta_1, beta_2=config.beta_2, **accumulation)


def scaled(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Returns the optimizer, with loss scaling where the dtype policy computes in float16.

    Keras does this to the optimizer of `compile` only; the discriminator's optimizer needs it too.
    """
    if keras.mixed_precision.dtype_policy().compute_dtype != "float16":
        return optimizer
    return keras.optimizers.LossScaleOptimizer(optimizer)


def variables(optimizer: keras.optimizers.Optimizer) -> list:
    """Returns all variables of an optimizer and of the optimizer that it wraps, each once."""
    found = list(optimizer.variables)
    found += list(getattr(optimizer, "inner_optimizer", optimizer).variables)
    return list({id(variable): variable for variable in found}.values())
