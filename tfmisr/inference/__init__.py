"""Upscaling with trained networks, interpolations and classical methods: arrays, files and whole folders."""
