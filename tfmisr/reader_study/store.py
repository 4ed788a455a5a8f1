"""The store of a study: readers, trials and answers, durable across a crash at any moment (R-12 to R-15)."""

import dataclasses
import datetime
import json
import typing
from collections.abc import Callable, Iterator

import tfmisr
from tfmisr.edge.deprecation import renamed
from tfmisr.edge.errors import InputError
from tfmisr.reader_study import ordering
from tfmisr.reader_study.answer import Answer, Refused, check_values
from tfmisr.reader_study.database import COMMAND_LINE
from tfmisr.reader_study.frozen import Study
from tfmisr.reader_study.registry import SIMULATED, Registry

# Columns of an answer that the audit log has, too.
LOGGED_COLUMNS = (
    *("answers", "shown_at", "first_input_at", "committed_at", "idle_ms", "active_ms", "too_fast"),
    *("window_center", "window_width", "software_version", "zoom", "interpolation"),
)
# Columns that databases of earlier releases lack, and their types; NULL in the rows of those releases.
_ADDED_COLUMNS = {"zoom": "REAL", "interpolation": "TEXT"}


@dataclasses.dataclass(frozen=True)
class Trial(ordering.Trial):
    """A trial of one reader in the database.

    Attributes:
        id: Primary key in the database.
        position: Position in the reader's order, from 1, over all sessions.
        token: Opaque name of the trial on the reader's page.
    """

    id: int = 0
    position: int = 0
    token: str = ""


class Store(Registry):
    """Readers, trials and answers of a study; arguments, attributes and errors as of `Registry`."""

    def __init__(self, study: Study, now: Callable[[], datetime.datetime] | None = None):
        super().__init__(study, now)
        if self._lacking():
            with self.database.write(COMMAND_LINE):
                for name in self._lacking():  # again: another process may have added them meanwhile
                    self.database.execute(f"ALTER TABLE commits ADD COLUMN {name} {_ADDED_COLUMNS[name]}")

    def _lacking(self) -> list[str]:
        present = {row[1] for row in self.database.rows("PRAGMA table_info(commits)")}
        return [name for name in _ADDED_COLUMNS if name not in present]

    @property
    def keys(self) -> list[str]:
        """Keys of the rating questions."""
        return [question["key"] for question in self.study.values["questions"]]

    def __enter__(self) -> "Store":
        return self

    def trials(self, reader: int) -> list[Trial]:
        """Returns all trials of a reader in their order."""
        return self._trials("reader = ?", reader)

    def _trials(self, condition: str, *values: typing.Any) -> list[Trial]:
        query = 'SELECT id, position, session, "case", arms, training, repeat, token FROM trials WHERE '
        return [
            Trial(case, tuple(json.loads(arms)), session, bool(training), bool(repeat), trial_id, position, token)
            for trial_id, position, session, case, arms, training, repeat, token in self.database.rows(
                query + condition + " ORDER BY position", *values
            )
        ]

    def waiting(self, reader: int) -> list[Trial]:
        """Returns the next two trials of a reader without an answer, or as many as are left."""
        return self._trials(
            "reader = ? AND id NOT IN (SELECT trial FROM commits) AND position < "
            "2 + (SELECT min(position) FROM trials WHERE reader = ? AND id NOT IN "
            "(SELECT trial FROM commits))",
            reader,
            reader,
        )

    def last(self, reader: int) -> Trial | None:
        """Returns the last answered trial of a reader, or `None` before the first answer."""
        answered = self._trials("reader = ? AND id IN (SELECT trial FROM commits)", reader)
        return answered[-1] if answered else None

    def answers(self, trial: Trial) -> dict[str, int | str]:
        """Returns the current version of the answers to a trial; see `Answer.values`."""
        return self.stored(trial)["answers"]

    def stored(self, trial: Trial) -> dict | None:
        """Returns `version`, from 1, and `answers` of what is stored for a trial now, or `None` before an answer."""
        query = "SELECT version, answers FROM commits WHERE trial = ? ORDER BY version DESC LIMIT 1"
        rows = self.database.rows(query, trial.id)
        return {"version": rows[0][0], "answers": json.loads(rows[0][1])} if rows else None

    def panes(self, trial: Trial) -> list[tuple[str, str]]:
        """Returns the role and the token of each image of a trial, from left to right."""
        return self.database.rows("SELECT role, token FROM panes WHERE trial = ? ORDER BY place", trial.id)

    def image(self, reader: int, token: str) -> str | None:
        """Returns the digest of the pixels that an image token of this reader stands for, else `None`."""
        query = "SELECT digest FROM panes JOIN trials ON trials.id = trial WHERE panes.token = ? AND reader = ?"
        rows = self.database.rows(query, token, reader)
        return rows[0][0] if rows else None

    def not_before(self, reader: int) -> datetime.datetime | None:
        """Returns when the washout period before the next session ends, or `None` if the reader may read now (R-04)."""
        last, waiting = self.last(reader), self.waiting(reader)
        days = self.study.values["order"]["washout_days"]
        if not last or not waiting or waiting[0].session == last.session or not days:
            return None
        ended = self.database.rows("SELECT max(committed_at) FROM commits WHERE trial = ?", last.id)[0][0]
        due = datetime.datetime.fromisoformat(ended) + datetime.timedelta(days=days)
        return due if self.database.now() < due else None

    def commit(self, reader: int, token: str, answer: Answer, seen: int | None = None) -> None:
        """Stores an answer; when this returns, it is durable on disk.

        Args:
            reader: Number of the reader.
            token: Token of the trial.
            answer: The answer; a retransmission of the stored one is accepted without effect.
            seen: Version of the answer that the page showed, 0 before an answer; `None`: replace any version.

        Raises:
            Refused: The trial is already answered or not the next one, another version than `seen` is stored, or the
                study is closed. The audit log records the refusal.
            InputError: The reader has no such trial, or the values do not answer its questions.
        """
        label = self.label(reader)
        refusal = stored = None
        with self.database.write(label) as log:
            matching = self._trials("reader = ? AND token = ?", reader, token)
            if not matching:
                raise InputError("expected a trial of this reader")
            trial = matching[0]
            check_values(answer.values, self.keys, len(trial.arms) == 2)
            versions = self.database.rows(
                "SELECT version, submission FROM commits WHERE trial = ? ORDER BY version", trial.id
            )
            if versions and versions[-1][1] == answer.submission:
                return  # a retransmission: the page did not receive the acknowledgement
            stored = self.stored(trial)
            refusal = self._refusal(reader, trial, len(versions), seen)
            if refusal:
                log("refused", {"position": trial.position, "why": refusal, "answers": answer.values, "seen": seen})
            else:
                self._insert(log, label, trial, len(versions) + 1, answer)
        if refusal:
            raise Refused(refusal, stored)

    def _refusal(self, reader: int, trial: Trial, version: int, seen: int | None) -> str | None:
        if self.closed_at():
            return "the study is closed"
        if version:
            last = self.last(reader)
            if not self.study.values["reading"]["allow_back"] or last.id != trial.id:
                return "this trial has been answered"
        if seen not in (None, version):
            return "another version of this answer is stored than the page shows; reload the page to see it"
        if version:
            return None
        if self.waiting(reader)[0].id != trial.id:
            return "another trial comes first"
        return "the next session has not begun" if self.not_before(reader) else None

    def _insert(self, log: Callable, label: str, trial: Trial, version: int, answer: Answer) -> None:
        active = answer.elapsed_ms - answer.idle_ms
        software = tfmisr.__version__ + (" simulated" if label.startswith(SIMULATED) else "")
        values = {
            "answers": json.dumps(answer.values, sort_keys=True),
            "shown_at": self.database.time(answer.elapsed_ms),
            "first_input_at": self.database.time(answer.elapsed_ms - answer.first_input_ms),
            "committed_at": self.database.time(),
            "idle_ms": round(answer.idle_ms),
            "active_ms": round(active),
            "too_fast": int(active < 1000 * self.study.values["reading"]["minimum_seconds"]),
            "window_center": float(answer.window_center),
            "window_width": float(answer.window_width),
            "software_version": software,
            "zoom": answer.zoom and float(answer.zoom),
            "interpolation": answer.interpolation,
        }
        values = {name: value for name, value in values.items() if value is not None}
        columns, marks = ", ".join(values), ", ".join("?" * (3 + len(values)))
        self.database.execute(
            f"INSERT INTO commits (trial, version, submission, {columns}) VALUES ({marks})",
            *(trial.id, version, answer.submission, *values.values()),
        )
        log("answer", {"position": trial.position, "version": version, **values})

    def commits(self, reader: int) -> Iterator[tuple[Trial, int, dict]]:
        """Yields each answered trial, the current version, and its `LOGGED_COLUMNS` with decoded answers."""
        trials = {trial.id: trial for trial in self.trials(reader)}
        columns = ", ".join(LOGGED_COLUMNS)
        query = f"SELECT trial, version, {columns} FROM commits WHERE trial IN (SELECT id FROM trials WHERE "
        latest = {row[0]: row for row in self.database.rows(query + "reader = ?) ORDER BY version", reader)}
        for trial_id in sorted(latest, key=lambda trial_id: trials[trial_id].position):
            _, version, *row = latest[trial_id]
            values = dict(zip(LOGGED_COLUMNS, row, strict=True))
            yield trials[trial_id], version, {**values, "answers": json.loads(values["answers"])}


__getattr__ = renamed(__name__, KEPT="LOGGED_COLUMNS")
