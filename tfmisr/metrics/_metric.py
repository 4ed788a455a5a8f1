"""What a metric declares about itself, `METRIC = Metric("psnr", psnr, ...)` in a module of `tfmisr.metrics`."""

import dataclasses
import functools
import os
from collections.abc import Callable

import numpy as np

from tfmisr import _rows
from tfmisr.edge.errors import check_name

# Appended to names of metrics in results: see `tfmisr.evaluation.summary` and `tfmisr.evaluation.table`.
_RESERVED = ("_center", "_centre", "_deviation", "_gain", "_high", "_hr", "_loa", "_low", "_n", "_patients")


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric that `--measures` knows by its name. All fields but `function` are literals; see `tfmisr._rows`.

    Attributes:
        name: Name in `--measures`, `metrics.json` and `per_image.csv`.
        function: `function(y_true, y_pred, max_val)`, from the reference and the restored image, arrays `(height,
            width, channels)`, to a float. With `per_set`: from the features of all reference and of all restored
            images, arrays `(images, features)`, to a float, or to a pair of a float and its standard deviation.
            With `weights`: from the paths of these files to the function.
        definition: Which definition it follows, for the protocol, whose hash depends on it. `{features}` stands for
            the network of a `per_set` metric.
        column: Title in the table.
        format: Format of its numbers.
        better: `higher`, `lower`, or `None` where neither is better.
        per_set: Set-level: compares all images at once, through a network's features.
        no_reference: Looks only at the restored image; its value of the reference is given beside it.
        ideal: Value for identical images; `None` where there is no such value.
        undefined: Why it may be nan (or infinite, so that no mean exists) on an image.
        unit: Unit in the title.
        interval: Show the 95 % interval in the table.
        half_width: `function(y_true, y_pred, max_val, half_width)`, for models with a calibrated half-width, which is
            a fraction of the full scale. Measured on the full image.
        share_of_patients: The values of a patient's images are added, and the summary is the share of patients whose
            sum is 0 or more.
        agreement: Also summarized by the limits of agreement over patients (Bland and Altman 1986).
        center: Also measured on the central crop, as `<name>_center`.
        default: Measured without `--measures`. Definitions of these are part of every protocol, so that none may be
            added: all hashes would change.
        weights: Files of `tfmisr.metrics._weights.PUBLISHED` that it needs.
        images_per_feature: Fewer images per feature of a `per_set` metric cause a note on its bias.
        order: Place in lists and tables, small numbers first; metrics of equal order are sorted by name. In tables,
            those of which neither higher nor lower is better come last.
    """

    name: str
    function: Callable
    definition: str
    column: str
    format: str = ".4f"
    better: str | None = None
    per_set: bool = False
    no_reference: bool = False
    ideal: float | None = None
    undefined: str = "it is not defined there"
    unit: str = ""
    interval: bool = False
    half_width: bool = False
    share_of_patients: bool = False
    agreement: bool = False
    center: bool = False
    default: bool = False
    weights: tuple[str, ...] = ()
    images_per_feature: int = 0
    order: int = 1000

    def __post_init__(self):
        if not self.name.isidentifier() or self.name.endswith(_RESERVED):
            raise ValueError(f"expected a name that does not end with {', '.join(_RESERVED)}. Received: {self.name}")
        if self.better not in ("higher", "lower", None):
            raise ValueError(f"`better` must be higher, lower or None. Received: {self.better}")

    def __repr__(self):
        better = f", {self.better} is better" if self.better else ""
        return f"<Metric {self.name}: {self.column}{better}>"

    def __call__(
        self, y_true: np.ndarray, y_pred: np.ndarray, max_val: float, half_width: np.ndarray | None = None
    ) -> float:
        """Returns the metric of two images; published weights are taken from the standard folder.

        Args:
            y_true: The reference, `(height, width)` or `(height, width, channels)`.
            y_pred: The restored image, of the same shape.
            max_val: Value of a full-scale pixel.
            half_width: For a metric with `half_width`, of the shape of the images.

        Raises:
            ValueError: The metric needs `half_width`, or takes none.
        """
        if self.half_width != (half_width is not None):
            raise ValueError(f"{self.name} {'needs' if self.half_width else 'takes no'} `half_width`")
        more = (half_width,) if self.half_width else ()
        return self.load()(y_true, y_pred, max_val, *more)

    def files(self, weights_dir: str | os.PathLike | None = None) -> list:
        """Returns the paths of its published weights, downloaded if missing; see `tfmisr.metrics._weights.find`."""
        from tfmisr.metrics import _weights

        return [_weights.find(name, weights_dir) for name in self.weights]

    def load(self, weights_dir: str | os.PathLike | None = None) -> Callable:
        """Returns `function`, made with the published weights where it needs some."""
        return self.function(*self.files(weights_dir)) if self.weights else self.function


@functools.cache
def rows() -> tuple[Metric, ...]:
    """Returns all metrics in order, from the text of the modules: neither SciPy nor Keras is imported."""
    from tfmisr import metrics

    return tuple(_rows.read(metrics.__name__, metrics.__path__, Metric, "function"))


def names() -> list[str]:
    """Returns the names of all metrics in order."""
    return [metric.name for metric in rows()]


def default_names() -> list[str]:
    """Returns the names of the metrics that are measured without `--measures`."""
    return [metric.name for metric in rows() if metric.default]


def optional_names() -> list[str]:
    """Returns the names of the metrics that are measured only where `--measures` names them."""
    return [metric.name for metric in rows() if not metric.default]


def get(name: str) -> Metric:
    """Returns the metric of a name, to be called as `get("ssim")(y_true, y_pred, max_val)`.

    Raises:
        InputError: There is no such metric.
    """
    check_name("metric", name, names())
    return next(metric for metric in rows() if metric.name == name)
