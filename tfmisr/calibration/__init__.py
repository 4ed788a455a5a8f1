"""Calibration of the uncertainty of a model by patient; imported by `python -m tfmisr.calibrate` alone."""
