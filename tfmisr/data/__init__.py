"""Data sets, their splits, and pairs of LR and HR images or patches; imported when used."""

from tfmisr import _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    sources=(
        "DEFAULT",
        "SPLITS",
        "SPLIT_PERCENT",
        "features",
        "folders",
        "split_of",
        "DatasetBuilder",
        "Source",
        "names",
        "builder",
        "load",
        "pairs",
        "load_for",
    ),
)
