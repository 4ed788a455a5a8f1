"""NIfTI-1 and NIfTI-2 files (`.nii`, `.nii.gz`): `read` and `write`, which need nibabel (extra `[volume]`)."""

from tfmisr.edge.volumes.nifti_reading import is_nifti as is_nifti
from tfmisr.edge.volumes.nifti_reading import read as read
from tfmisr.edge.volumes.nifti_writing import write as write
