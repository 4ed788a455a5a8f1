"""The one exception that means: the user can mend this."""


class InputError(ValueError):
    """A mistake in the input, told in one line: what was expected, what came, what to do.

    Commands print the message without a traceback and exit with status 2.
    """
