"""Constants of the previous release that the rows of `Metric` replaced: they work for one release and warn."""

import warnings
from collections.abc import Callable

from tfmisr.metrics import _metric


def _named(condition: Callable) -> tuple[str, ...]:
    return tuple(metric.name for metric in _metric.rows() if condition(metric))


def _windowed(metric) -> bool:
    return metric.name.startswith(("psnr_", "ssim_"))


def _functions(condition: Callable) -> dict[str, Callable]:
    return {m.name: m.function for m in _metric.rows() if condition(m) and not m.per_set and not m.weights}


_VALUES = {
    "tfmisr.metrics.METRICS": lambda: _functions(lambda m: not _windowed(m)),
    "tfmisr.metrics.UNDEFINED": lambda: {
        m.name: m.undefined for m in _metric.rows() if m.name != "psnr" and m.undefined != _metric.Metric.undefined
    },
    "tfmisr.metrics.ct_windows.METRICS": lambda: _functions(_windowed),
    "tfmisr.evaluation.scoring.MEASURES": lambda: tuple(_metric.default_names()),
    "tfmisr.evaluation.scoring.FURTHER": lambda: tuple(_metric.optional_names()),
    "tfmisr.evaluation.scoring.CENTRE": lambda: _named(lambda m: m.center),
    "tfmisr.evaluation.scoring.OF_SETS": lambda: _named(lambda m: m.per_set),
    "tfmisr.evaluation.scoring.LEARNED": lambda: _named(lambda m: m.weights),
    "tfmisr.evaluation.scoring.ALONE": lambda: _named(lambda m: m.no_reference),
    "tfmisr.evaluation.scoring.WINDOWED": lambda: _named(_windowed),
}


def constant(module: str, name: str, stacklevel: int = 3) -> tuple[str, ...] | dict:
    """Returns the value of a constant of the previous release, after a warning.

    Raises:
        AttributeError: The module never had such a constant.
    """
    if f"{module}.{name}" not in _VALUES:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    warnings.warn(
        f"{module}.{name} is replaced by tfmisr.metrics.names(), default_names(), optional_names() and get(name)",
        DeprecationWarning,
        stacklevel=stacklevel,
    )
    return _VALUES[f"{module}.{name}"]()


def __getattr__(name: str):
    return constant("tfmisr.metrics", name, stacklevel=4)
