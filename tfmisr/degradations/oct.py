"""OCT with a narrower source spectrum and sparser A-scans: point spread, sampling, speckle.

As in ultrasound, the image is a logarithmically compressed amplitude with speckle; rows are depth. In optical coherence
tomography the axial resolution depends on the source's bandwidth, the lateral resolution on the optics.

Reference:
    Schmitt, Xiang and Yung, Speckle in Optical Coherence Tomography, Journal of Biomedical Optics 1999,
    https://doi.org/10.1117/1.429925
"""

from tfmisr.degradations import ultrasound


def steps(
    scale: int,
    axial: float = 1.5,
    lateral: float = 1.0,
    looks: float = 8,
    dynamic_range: float = 40.0,
) -> tuple:
    """Returns amplitude, point spread, coarser sampling and speckle; arguments and errors as of `ultrasound.steps`."""
    return ultrasound.acquisition("oct", scale, axial, lateral, looks, dynamic_range)
