"""Hyperparameter search: search spaces, oracles, a process per trial, distributed workers, and parameter studies."""
