"""Procedural chest radiographs: the dataset `chest_phantom`."""
