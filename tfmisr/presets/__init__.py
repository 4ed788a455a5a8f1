"""Recipes: a file here is one, with what it is, what it costs, what it reaches, and its `CONFIG`."""


def names() -> list[str]:
    """Returns the names of all presets, from file names alone."""
    from tfmisr._lazy import modules_of

    return modules_of(__path__)
