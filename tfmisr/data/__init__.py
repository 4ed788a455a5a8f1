"""Datasets, their splits, and pairs of LR and HR images or patches; modules are imported on first use."""

from tfmisr import _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    dataset_builder=("SPLITS", "SPLIT_PERCENT", "features", "folders", "split_of", "DatasetBuilder"),
    paired=("pairs",),
    sources=("DEFAULT", "Source", "names", "builder", "load", "load_for"),
)
