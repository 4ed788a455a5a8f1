"""Result of `observe` as an object: printed as its table, displayed in notebooks with the figure."""

import dataclasses
import pathlib

from tfmisr.evaluation.outcomes import Outcome
from tfmisr.observers import report


@dataclasses.dataclass(frozen=True, repr=False)
class Observation(Outcome):
    """Detectability of the signals of one or more tasks.

    Attributes:
        workdir: Folder of `observe.json`, `report.html`, `report.md` and a picture of each task.
        results: Content of `observe.json`: `protocol` and `tasks`.
    """

    workdir: pathlib.Path
    results: dict

    @property
    def summary(self) -> dict[str, dict[str, dict]]:
        """Task to arm to its AUC, differences and verdict; infinite and undefined values are `None`."""
        return {result["task"]["name"]: result["arms"] for result in self.results["tasks"]}

    @property
    def figure(self) -> pathlib.Path:
        """The picture of the first task."""
        return self.workdir / f"{next(iter(self.summary))}.png"

    def table(self) -> str:
        """Returns the table of a single task, else the verdicts on each model in a sentence."""
        if len(self.summary) > 1:
            return report.summary(self.results)
        return report.markdown(self.results).partition("\n\n![")[0]

    def __str__(self):
        return f"{self.table()}\nreport in {self.workdir / 'report.html'}"

    def __repr__(self):
        return f"<{type(self).__name__}: {', '.join(self.summary)}; files in {self.workdir}>"
