"""What was typed and written with the previous release goes on working: names, flags, files.

`tests/previous_release/make.py` says how its files were made, by that release's own code.
"""

import pathlib
import subprocess
import sys

PREVIOUS = pathlib.Path(__file__).resolve().parent / "previous_release"


def test_names_flags_and_values_of_the_previous_release_are_accepted():
    # A process of its own: whatever an old module does when it is imported, it does to nobody else.
    command = [sys.executable, PREVIOUS / "interface.py", "check", PREVIOUS / "names.json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == ["", ""], done.stdout
