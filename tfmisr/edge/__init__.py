"""What runs on an imaging device: images, interpolation and tiling, without TensorFlow."""
