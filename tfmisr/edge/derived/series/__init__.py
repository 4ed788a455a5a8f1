"""Derived DICOM series: a volume with another distance between its slices (V-11).

product = SeriesProduct(name="tfmisr", version="0.1.0", model="self", weights_sha256="9f86d0...", method="...")
write_series(source, volume, "thin", product, profile)
"""

from tfmisr.edge.derived.series.product import SeriesProduct
from tfmisr.edge.derived.series.writing import SeriesReport, write_series

__all__ = ["SeriesProduct", "SeriesReport", "write_series"]
