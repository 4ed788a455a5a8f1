"""Results of the commands as objects: printed as a table, displayed in notebooks as a table with a figure.

`str()` is the final output of the command, `table()` the table in it, `summary` the numbers, `workdir` the folder of
the files, `figure` the image file.
"""

import base64
import csv
import dataclasses
import html
import pathlib

from tfmisr.evaluation import table as tables


class Outcome:
    """Base class of the outcomes; each has `workdir`, `summary`, `figure` and `table()`.

    Attributes:
        workdir: Folder of the files.
        summary: The numbers.
        figure: Image file; `None` where there is none.
    """

    figure: pathlib.Path | None = None

    def _html_table(self) -> str:
        return f"<pre>{html.escape(self.table())}</pre>"

    def _repr_html_(self) -> str:
        """Returns the table and, below it, the figure: notebooks display this representation only."""
        png = self._repr_png_()
        image = f'<img alt="montage" src="data:image/png;base64,{base64.b64encode(png).decode()}">' if png else ""
        return self._html_table() + image

    def _repr_png_(self) -> bytes | None:
        return self.figure.read_bytes() if self.figure and self.figure.is_file() else None

    def __str__(self):
        return self.table()


@dataclasses.dataclass(frozen=True, repr=False)
class Evaluation(Outcome):
    """Scores of models on the images of a split.

    Attributes:
        workdir: Folder of `metrics.json`, `per_image.csv`, `table.md` and `montage.png`.
        metrics: Content of `metrics.json`: `protocol`, `notes` and `models`.
    """

    workdir: pathlib.Path
    metrics: dict

    @property
    def summary(self) -> dict[str, dict]:
        """Model to its means, intervals and number of parameters; infinite and undefined values are `None`."""
        return self.metrics["models"]

    @property
    def figure(self) -> pathlib.Path:
        """The montage of one typical image."""
        return self.workdir / "montage.png"

    def table(self) -> str:
        """Returns the main metrics of all models, aligned."""
        return tables.console_table(self.metrics)

    def _html_table(self):
        titles, *lines = tables.cells(self.metrics)
        caption = html.escape(tables.caption(self.metrics["protocol"], self.summary))
        return _html(titles, lines) + f"<p>{caption}</p>"

    def __str__(self):
        files = "tables and montage" if self.figure.is_file() else "tables"
        return f"{self.table()}\nprotocol {self.metrics['protocol']['hash']}; {files} in {self.workdir}"

    def __repr__(self):
        return f"<{type(self).__name__}: {_scores(self.summary)}; files in {self.workdir}>"


@dataclasses.dataclass(frozen=True, repr=False)
class TrainingRun(Evaluation):
    """One training run and its scores.

    Attributes:
        workdir: The run's folder.
        metrics: Content of `evaluation/metrics.json` there.
        model: The trained network, `model.keras`.
        verdict: Comparison with bicubic interpolation, in one sentence.
    """

    model: pathlib.Path
    verdict: str

    @property
    def figure(self) -> pathlib.Path:
        """The montage of one typical image."""
        return self.workdir / "evaluation" / "montage.png"

    def __str__(self):
        picture = f"\npicture: {self.figure}" if self.figure.is_file() else ""
        return f"{self.table()}\n{self.verdict}\nmodel: {self.model}{picture}"


@dataclasses.dataclass(frozen=True)
class TrainedHead(Outcome):
    """The run of an uncertainty head.

    Attributes:
        workdir: The run's folder.
        model: The trained head, `model.keras`.
    """

    workdir: pathlib.Path
    model: pathlib.Path

    @property
    def summary(self) -> dict[str, float]:
        """The last row of `history.csv`: pinball loss in levels of 8 bits, and fraction of the errors below s."""
        with open(self.workdir / "history.csv", newline="", encoding="utf-8") as file:
            *_, last = csv.DictReader(file)
        return {name: float(value) for name, value in last.items() if value}

    def table(self) -> str:
        """Returns the last row of the history in one line."""
        return "  ".join(f"{name} {value:.4g}" for name, value in self.summary.items())

    def __str__(self):
        return f"{self.table()}\nhead: {self.model}\npack it: python -m tfmisr.export {self.workdir} --output exported"


@dataclasses.dataclass(frozen=True, repr=False)
class Search(Outcome):
    """A hyperparameter search, or a study of parameters.

    Attributes:
        workdir: Folder of `study.csv`, `report.md`, `best.json` and the trials.
        summary: The best trial: its number, `values`, `steps` and metrics.
        text: The command's output.
        run: Folder of the best trial's run, or of the run that was trained with its values.
    """

    workdir: pathlib.Path
    summary: dict
    text: str
    run: pathlib.Path

    @property
    def trials(self) -> list[dict[str, str]]:
        """The rows of `study.csv`."""
        with open(self.workdir / "study.csv", newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    @property
    def figure(self) -> pathlib.Path | None:
        """Plot of the effect of each parameter; `None` where the report has none."""
        path = self.workdir / "effects.png"
        return path if path.is_file() else None

    def table(self) -> str:
        """Returns the effect of each parameter and the best setting, as the command prints it."""
        return self.text

    def _html_table(self):
        rows = self.trials
        titles = [name for name in rows[0] if any(row[name] for row in rows)]
        return _html(titles, [[row[name] for name in titles] for row in rows]) + super()._html_table()

    def __str__(self):
        best = self.workdir / "best.json"
        return (
            f"{self.text}\nas a run: python -m tfmisr.fit --config {best}\nreport: {self.workdir / 'report.md'}".strip()
        )

    def __repr__(self):
        values = ", ".join(f"{key}={value}" for key, value in self.summary["values"].items())
        return f"<Search: best trial {self.summary['trial']} ({values or 'the only one'}); files in {self.workdir}>"


@dataclasses.dataclass(frozen=True, repr=False)
class Exported(Outcome):
    """The files of a network.

    Attributes:
        workdir: Folder of the files, and of `report.json` and `report.md` where the files were compared.
        files: The `.tflite` files.
        summary: Content of `report.json`; empty without a comparison.
    """

    workdir: pathlib.Path
    files: tuple[pathlib.Path, ...]
    summary: dict

    @property
    def failures(self) -> list[str]:
        """A sentence for each value that exceeds its limit; empty without a comparison."""
        return self.summary.get("failures", [])

    def table(self) -> str:
        """Returns the loss of quality of each file against the Keras network."""
        return "\n".join(
            f"{name}: PSNR drop {row['psnr_drop']:+.4f} dB, worst pixel {row['worst_pixel']:.1e}"
            for name, row in self.summary.get("files", {}).items()
        )

    def _html_table(self):
        rows = self.summary.get("files", {})
        styles = {"bytes": ",", "psnr_drop": "+.4f", "ssim_drop": "+.5f", "worst_pixel": ".1e"}
        titles = ["file", "bytes", "PSNR drop [dB]", "SSIM drop", "worst pixel"]
        lines = [[name, *(f"{row[key]:{style}}" for key, style in styles.items())] for name, row in rows.items()]
        return _html(titles, lines) if rows else f"<pre>{html.escape(repr(self))}</pre>"

    def __str__(self):
        return f"{self.table()}\nreport: {self.workdir / 'report.md'}" if self.summary else ""

    def __repr__(self):
        over = f"; {len(self.failures)} over a limit" if self.failures else ""
        return f"<Exported: {', '.join(path.name for path in self.files) or 'no .tflite file'} in {self.workdir}{over}>"


def _scores(summary) -> str:
    known = {name: values.get("psnr") for name, values in summary.items()}
    return ", ".join(f"{name} {'-' if psnr is None else f'{psnr:.2f}'} dB" for name, psnr in known.items())


def _html(titles, lines) -> str:
    """Returns an HTML table; cells that are bold in Markdown are bold."""

    def row(cells, tag):
        return f"<tr>{''.join(f'<{tag}>{_cell(cell)}</{tag}>' for cell in cells)}</tr>"

    body = "".join(row(cells, "td") for cells in lines)
    return f"<table><thead>{row(titles, 'th')}</thead><tbody>{body}</tbody></table>"


def _cell(text) -> str:
    bold, mark, rest = text.removeprefix("**").partition("**") if text.startswith("**") else ("", "", text)
    return f"<b>{html.escape(bold)}</b>{html.escape(rest)}" if mark else html.escape(text)
