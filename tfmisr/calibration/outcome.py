"""Result of `calibrate` as an object: printed as its summary."""

import dataclasses
import pathlib

from tfmisr.calibration import results
from tfmisr.evaluation.outcomes import Outcome


@dataclasses.dataclass(frozen=True, repr=False)
class Calibration(Outcome):
    """A calibrated model.

    Attributes:
        file: The new `.tflite` file; its uncertainty head lies beside it.
        summary: The field `uncertainty` of its card.
        notes: Sentences on what could not be checked.
    """

    file: pathlib.Path
    summary: dict
    notes: tuple[str, ...] = ()

    @property
    def workdir(self) -> pathlib.Path:
        """Folder of the files."""
        return self.file.parent

    def table(self) -> str:
        """Returns the levels and what they promise, in Markdown."""
        return results.markdown(self.summary, self.notes)

    def __str__(self):
        return f"{self.table()}\n\nfile: {self.file}"

    def __repr__(self):
        return f"<{type(self).__name__}: {self.summary['calibration']['patients']} patients; {self.file}>"
