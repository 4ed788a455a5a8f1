"""Datasets, their splits, and pairs of LR and HR images or patches; modules are imported on first use."""

from tfmisr import _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    cached_source=("CachedSource", "is_packed"),
    dataset_builder=("features", "DatasetBuilder"),
    paired=("pairs",),
    splits=("SPLITS", "SPLIT_PERCENT", "folders", "split_of"),
    sources=("DEFAULT", "Source", "names", "builder", "load", "load_for"),
)
