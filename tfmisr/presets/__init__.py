"""Presets: one recipe per file, with its purpose, its cost, its expected result, and the fields of its `CONFIG`."""

OLD_NAMES = {"finish": "finetune_mse", "finish_int8": "finetune_int8"}  # accepted for one release


def names() -> list[str]:
    """Returns the names of all presets, from file names alone."""
    from tfmisr._lazy import modules_of

    return modules_of(__path__)
