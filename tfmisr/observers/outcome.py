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
        results: Content of `observe.json`: `protocol`, `tasks`, and `classifier` where there is one.
    """

    workdir: pathlib.Path
    results: dict

    @property
    def summary(self) -> dict[str, dict[str, dict]]:
        """Task, or `label NAME`, to arm to its AUC, differences and verdict; `None`: infinite or undefined."""
        tasks = {result["task"]["name"]: result["arms"] for result in self.results["tasks"]}
        labels = self.results.get("classifier", {"labels": {}})["labels"]
        return tasks | {f"label {name}": result["arms"] for name, result in labels.items()}

    @property
    def figure(self) -> pathlib.Path | None:
        """The picture of the first task; `None` without a task."""
        tasks = self.results["tasks"]
        return self.workdir / f"{tasks[0]['task']['name']}.png" if tasks else None

    def table(self) -> str:
        """Returns the table of a single task or label, else the verdicts on each model in a sentence."""
        if len(self.summary) > 1:
            return report.summary(self.results)
        return report.markdown(self.results).partition("\n\n![")[0]

    def __str__(self):
        return f"{self.table()}\nreport in {self.workdir / 'report.html'}"

    def __repr__(self):
        return f"<{type(self).__name__}: {', '.join(self.summary)}; files in {self.workdir}>"
