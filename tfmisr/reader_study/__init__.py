"""Blinded multi-reader multi-case (MRMC) study: readers rate images in a browser without knowing which arm they see."""
