"""Analytic phantom volumes, known at any spacing: the dataset `phantom_volume`."""
