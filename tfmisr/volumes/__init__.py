"""Through-plane super-resolution of volumes: networks that are trained on a volume's own slices."""
