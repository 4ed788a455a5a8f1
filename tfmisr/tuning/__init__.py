"""Sweeps: what is searched, who proposes, a process for each trial, many machines, and what was found."""
