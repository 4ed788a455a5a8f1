"""Names of the built-in tasks and observers, for a command's help without SciPy."""

NAMES = ("nodule_10mm", "nodule_6mm", "nodule_3mm", "line", "edge", "dot", "dot_cluster", "rayleigh")
OBSERVERS = ("cho", "npw", "npwe")
