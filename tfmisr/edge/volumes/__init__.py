"""Volumes: CT and MR as stacks of parallel slices, and through-plane super-resolution of them.

A volume is an array (slices, rows, columns) with a regular grid in the patient's coordinates. Reading, resampling along
the slice axis, networks of `.tflite` files and writing need NumPy, pydicom and LiteRT; NIfTI needs nibabel.
"""

from tfmisr.edge.volumes.grid import VolumeGrid
from tfmisr.edge.volumes.slice_profile import SliceProfile
from tfmisr.edge.volumes.volume import Volume

__all__ = ["SliceProfile", "Volume", "VolumeGrid"]
