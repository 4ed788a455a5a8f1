"""The runtime for imaging devices: image files, DICOM, interpolation, tiling and LiteRT, without TensorFlow."""
