"""The producer of a derived series of thin slices: software, model, slice profile and spacing (V-11)."""

import dataclasses

from tfmisr.edge.derived.product import Product, check_sentence

_KIND = {True: "Through-plane super-resolution", False: "Interpolation along the slice axis"}
_LIMITS = {"method": 60, "parameters": 200}
_TEXT_LIMIT = 1000  # of Derivation Description with all sentences; Value Representation ST has 1024 characters


@dataclasses.dataclass(frozen=True)
class SeriesProduct(Product):
    """The producer of a volume with another distance between slices; rows and columns keep their size.

    Attributes:
        scale: Of rows and columns; always 1.
        series_number_offset: Added to Series Number (0020,0011), other than that of an upscaled series (D-05).
        method: How the slices were estimated, such as "self-supervised" or "cubic spline".
        parameters: Whatever else changes the pixels, such as "900 steps, seed 0, planes sagittal and coronal". Part of
            the identity of the series and of Derivation Description.
        profile: Slice profile of the source, such as "gaussian:5mm"; set by `write_series`.
        spacing: Distance between the new slices in mm; set by `write_series`.
        source_spacing: Distance between the source's slices in mm; set by `write_series`.
    """

    scale: int = 1
    series_number_offset: int = 3000
    method: str = ""
    parameters: str = ""
    profile: str = ""
    spacing: float = 0.0
    source_spacing: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for field, limit in _LIMITS.items():
            check_sentence(field, getattr(self, field))
            if len(getattr(self, field)) > limit:
                raise ValueError(f"`{field}` must be at most {limit} characters")
        if len(self.description) > _TEXT_LIMIT:
            raise ValueError(f"the texts of a product must be at most {_TEXT_LIMIT} characters together")

    def _check_scale(self) -> None:
        if self.scale != 1:
            raise ValueError(f"`scale` of a series must be 1: rows and columns stay. Received: scale={self.scale}")

    @property
    def ratio(self) -> float:
        """Distance between the source's slices divided by that between the new ones."""
        return self.source_spacing / self.spacing if self.spacing else 1.0

    @property
    def label(self) -> str:
        """Suffix of Series Description (0008,103E), for readers (D-05, D-18)."""
        return f" SR {self.spacing:.3g} mm" + (" AI" if self.ai else "")

    @property
    def description(self) -> str:
        """Sentence for Derivation Description (0008,2111) (D-13, V-11)."""
        weights = f", weights sha256 {self.weights_sha256[:12]}" if self.weights_sha256 else ""
        method = f", method {self.method}" if self.method else ""
        more = f" Parameters: {self.parameters}." if self.parameters else ""
        corrected = f" Corrected to agree with the source ({self.consistency})." if self.consistency else ""
        uncertain = f" Half-widths: {self.uncertainty}." if self.uncertainty else ""
        return (
            f"{_KIND[self.ai]}: slices every {self.source_spacing:.6g} mm to slices every {self.spacing:.6g} mm "
            f"(x{self.ratio:.4g}) by {self.name} {self.version}, model {self.model}{weights}{method}, slice profile "
            f"{self.profile}; pixels are estimated, not acquired.{more}{corrected}{uncertain}{self._applicable}"
        )
