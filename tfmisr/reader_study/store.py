"""Readers, their trials and their answers, safe against a crash at any moment (R-12 to R-15)."""

import dataclasses
import datetime
import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterator

import tfmisr
from tfmisr.edge.errors import InputError, hint
from tfmisr.reader_study import audit, ordering
from tfmisr.reader_study.answer import Answer, Refused, check_values
from tfmisr.reader_study.database import COMMAND_LINE, Database
from tfmisr.reader_study.frozen import Study

SIMULATED = "simulated-"

# What of a commit is in the audit log too.
KEPT = (
    *("answers", "shown_at", "first_input_at", "committed_at", "idle_ms", "active_ms", "too_fast"),
    *("window_center", "window_width", "software_version"),
)


@dataclasses.dataclass(frozen=True)
class Trial(ordering.Trial):
    """A trial of one reader, as it is kept.

    Attributes:
        id: Its number in the database.
        position: From 1, all trials of the reader counted.
        token: What the reader's page calls it.
    """

    id: int = 0
    position: int = 0
    token: str = ""


class Store:
    """What a study knows of its readers; arguments and errors as of `tfmisr.reader_study.database.Database`."""

    def __init__(self, study: Study, now: Callable[[], datetime.datetime] | None = None):
        self.study = study
        self.database = Database(study, now)

    @property
    def keys(self) -> list[str]:
        """Keys of the questions that are asked of one image."""
        return [question["key"] for question in self.study.values["questions"]]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.database.close()

    def add_reader(self, label: str, simulated: bool = False) -> str:
        """Adds a reader with all trials, and returns the reader's token: only its hash is kept.

        Raises:
            InputError: The label is taken, or none can have it.
        """
        if not re.fullmatch(r"\w[\w .-]{0,39}", label):
            raise InputError(
                f"a reader's label has 1 to 40 letters, digits, spaces, dots or hyphens. Received: {label!r}"
            )
        if label.startswith(SIMULATED) != simulated:
            raise InputError(f"labels that begin with {SIMULATED} belong to simulated readers. Received: {label}")
        token = secrets.token_urlsafe(32)
        order = ordering.order(self.study.plan, label)
        with self.database.write(COMMAND_LINE) as say:
            self._open_only()
            if self.database.rows("SELECT 1 FROM readers WHERE label = ?", label):
                raise InputError(f"there is a reader called {label} already; --reissue gives a new link")
            row = (label, _hashed(token), int(simulated), self.database.time())
            reader = self.database.execute(
                "INSERT INTO readers (label, token_hash, simulated, created_at) VALUES (?, ?, ?, ?)", *row
            ).lastrowid
            for position, trial in enumerate(order, 1):
                self._add_trial(reader, position, trial)
            say("reader", {"label": label, "simulated": simulated, "trials": len(order)})
        return token

    def _add_trial(self, reader, position, trial):
        arms = json.dumps(trial.arms)
        values = (reader, position, trial.session, trial.case, arms, trial.training, trial.repeat)
        number = self.database.execute(
            'INSERT INTO trials (reader, position, session, "case", arms, training, repeat, token) '
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            *(*values, secrets.token_urlsafe(24)),
        ).lastrowid
        for place, (role, digest) in enumerate(self.study.panes(trial.case, trial.arms)):
            row = (secrets.token_urlsafe(24), number, place, role, digest)
            self.database.execute("INSERT INTO panes VALUES (?, ?, ?, ?, ?)", *row)

    def reissue(self, label: str) -> str:
        """Returns a new token for a reader; the old one is good no more.

        Raises:
            InputError: There is no such reader.
        """
        token = secrets.token_urlsafe(32)
        with self.database.write(COMMAND_LINE) as say:
            changed = self.database.execute(
                "UPDATE readers SET token_hash = ? WHERE label = ?", _hashed(token), label
            ).rowcount
            if not changed:
                raise InputError(
                    f"expected one of the readers {', '.join(self.labels()) or '(none)'}. "
                    f"Received: {label}{hint(label, self.labels(), 0.6)}"
                )
            say("reissued", {"label": label})
        return token

    def new_admin(self) -> str:
        """Returns a new token for the admin page; the old one is good no more."""
        token = secrets.token_urlsafe(32)
        with self.database.write(COMMAND_LINE) as say:
            self.database.set("admin", _hashed(token))
            say("admin", {})
        return token

    def is_admin(self, token: str) -> bool:
        """Returns whether a token opens the admin page."""
        return secrets.compare_digest(self.database.meta("admin") or "", _hashed(token))

    def reader_of(self, token: str) -> int | None:
        """Returns the number of the reader to whom a token belongs, or `None`."""
        found = self.database.rows("SELECT id FROM readers WHERE token_hash = ?", _hashed(token))
        return found[0][0] if found else None

    def readers(self) -> list[tuple[int, str]]:
        """Returns the number and the label of each reader."""
        return self.database.rows("SELECT id, label FROM readers ORDER BY id")

    def labels(self) -> list[str]:
        """Returns the labels of all readers."""
        return [label for _, label in self.readers()]

    def label(self, reader: int) -> str:
        """Returns the label of a reader."""
        return self.database.rows("SELECT label FROM readers WHERE id = ?", reader)[0][0]

    def trials(self, reader: int) -> list[Trial]:
        """Returns all trials of a reader in their order."""
        return self._trials("reader = ?", reader)

    def _trials(self, condition, *values):
        query = 'SELECT id, position, session, "case", arms, training, repeat, token FROM trials WHERE '
        return [
            Trial(case, tuple(json.loads(arms)), session, bool(training), bool(repeat), number, position, token)
            for number, position, session, case, arms, training, repeat, token in self.database.rows(
                query + condition + " ORDER BY position", *values
            )
        ]

    def waiting(self, reader: int) -> list[Trial]:
        """Returns the next two trials of a reader that have no answer, as far as there are."""
        return self._trials(
            "reader = ? AND id NOT IN (SELECT trial FROM commits) AND position < "
            "2 + (SELECT min(position) FROM trials WHERE reader = ? AND id NOT IN "
            "(SELECT trial FROM commits))",
            reader,
            reader,
        )

    def last(self, reader: int) -> Trial | None:
        """Returns the last answered trial of a reader."""
        found = self._trials("reader = ? AND id IN (SELECT trial FROM commits)", reader)
        return found[-1] if found else None

    def answers(self, trial: Trial) -> dict[str, int | str]:
        """Returns the answers of a trial that count."""
        query = "SELECT answers FROM commits WHERE trial = ? ORDER BY version DESC LIMIT 1"
        return json.loads(self.database.rows(query, trial.id)[0][0])

    def panes(self, trial: Trial) -> list[tuple[str, str]]:
        """Returns the role and the token of each image of a trial, from left to right."""
        return self.database.rows("SELECT role, token FROM panes WHERE trial = ? ORDER BY place", trial.id)

    def image(self, reader: int, token: str) -> str | None:
        """Returns the digest of the pixels that a token stands for, where it is this reader's, else `None`."""
        query = "SELECT digest FROM panes JOIN trials ON trials.id = trial WHERE panes.token = ? AND reader = ?"
        found = self.database.rows(query, token, reader)
        return found[0][0] if found else None

    def not_before(self, reader: int) -> datetime.datetime | None:
        """Returns when a reader may begin the next session, or `None` where there is no need to wait (R-04)."""
        last, waiting = self.last(reader), self.waiting(reader)
        days = self.study.values["order"]["washout_days"]
        if not last or not waiting or waiting[0].session == last.session or not days:
            return None
        ended = self.database.rows("SELECT max(committed_at) FROM commits WHERE trial = ?", last.id)[0][0]
        due = datetime.datetime.fromisoformat(ended) + datetime.timedelta(days=days)
        return due if self.database.now() < due else None

    def commit(self, reader: int, token: str, answer: Answer) -> None:
        """Keeps an answer; when this returns, it is on the disk.

        Raises:
            Refused: The trial is answered, it is not its turn, or the study is closed. A row of the audit log says so.
            InputError: No such trial of this reader, or no answer to its questions.
        """
        label = self.label(reader)
        refusal = None
        with self.database.write(label) as say:
            found = self._trials("reader = ? AND token = ?", reader, token)
            if not found:
                raise InputError("expected a trial of this reader")
            trial = found[0]
            check_values(answer.values, self.keys, len(trial.arms) == 2)
            before = self.database.rows(
                "SELECT version, submission FROM commits WHERE trial = ? ORDER BY version", trial.id
            )
            if before and before[-1][1] == answer.submission:
                return  # the acknowledgement was lost on its way
            refusal = self._refusal(reader, trial, bool(before))
            if refusal:
                say("refused", {"position": trial.position, "why": refusal, "answers": answer.values})
            else:
                self._insert(say, label, trial, len(before) + 1, answer)
        if refusal:
            raise Refused(refusal)

    def _refusal(self, reader, trial, answered):
        if self.closed_at():
            return "the study is closed"
        if answered:
            last = self.last(reader)
            back = self.study.values["reading"]["allow_back"] and last.id == trial.id
            return None if back else "this trial has been answered"
        if self.waiting(reader)[0].id != trial.id:
            return "another trial comes first"
        return "the next session has not begun" if self.not_before(reader) else None

    def _insert(self, say, label, trial, version, answer):
        active = answer.elapsed_ms - answer.idle_ms
        software = tfmisr.__version__ + (" simulated" if label.startswith(SIMULATED) else "")
        kept = {
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
        }
        columns = ", ".join(kept)
        self.database.execute(
            f"INSERT INTO commits (trial, version, submission, {columns}) VALUES ({', '.join('?' * (3 + len(kept)))})",
            *(trial.id, version, answer.submission, *kept.values()),
        )
        say("answer", {"position": trial.position, "version": version, **kept})

    def commits(self, reader: int) -> Iterator[tuple[Trial, int, dict]]:
        """Yields each answered trial, the version that counts, and what was kept of it, answers decoded."""
        trials = {trial.id: trial for trial in self.trials(reader)}
        query = f"SELECT trial, version, {', '.join(KEPT)} FROM commits WHERE trial IN (SELECT id FROM trials WHERE "
        latest = {row[0]: row for row in self.database.rows(query + "reader = ?) ORDER BY version", reader)}
        for number in sorted(latest, key=lambda number: trials[number].position):
            _, version, *kept = latest[number]
            values = dict(zip(KEPT, kept, strict=True))
            yield trials[number], version, {**values, "answers": json.loads(values["answers"])}

    def record_display(self, reader: int, content: dict) -> None:
        """Keeps what a reader and his page said about the screen (R-10)."""
        label = self.label(reader)
        with self.database.write(label) as say:
            row = (reader, self.database.time(), json.dumps(content, sort_keys=True))
            self.database.execute("INSERT INTO displays VALUES (?, ?, ?)", *row)
            say("display", content)

    def displays(self, reader: int) -> list[dict]:
        """Returns all display checks of a reader, oldest first."""
        rows = self.database.rows("SELECT at, content FROM displays WHERE reader = ? ORDER BY rowid", reader)
        return [{"at": at, **json.loads(content)} for at, content in rows]

    def note(self, actor: str, event: str, details: dict) -> None:
        """Adds a row to the audit log."""
        with self.database.write(actor) as say:
            say(event, details)

    def closed_at(self) -> str | None:
        """Returns when the study was closed, or `None` while it is open."""
        return self.database.meta("closed_at")

    def _open_only(self):
        if at := self.closed_at():
            raise InputError(f"the study was closed at {at}")

    def close_study(self) -> None:
        """Closes the study for good: no answer is taken any more.

        Raises:
            InputError: It is closed.
        """
        with self.database.write(COMMAND_LINE) as say:
            self._open_only()
            at = self.database.time()
            self.database.set("closed_at", at)
            readers = {row["label"]: [row["answered"], row["trials"]] for row in self.progress()}
            say("closed", {"closed_at": at, "readers": readers})

    def progress(self) -> list[dict]:
        """Returns for each reader: label, simulated, trials, answered, the time of the last answer, and how many were
        too fast."""
        query = """
            SELECT label, simulated, count(DISTINCT trials.id), count(DISTINCT commits.trial), max(committed_at),
                count(DISTINCT CASE WHEN too_fast THEN commits.trial END)
            FROM readers JOIN trials ON reader = readers.id LEFT JOIN commits ON trial = trials.id
            GROUP BY readers.id ORDER BY readers.id
        """
        keys = ("label", "simulated", "trials", "answered", "last_at", "too_fast")
        found = [dict(zip(keys, row, strict=True)) for row in self.database.rows(query)]
        return [{**row, "simulated": bool(row["simulated"])} for row in found]

    def audit_head(self) -> tuple[int, str]:
        """Returns the number of rows of the audit log, and the hash of the last one."""
        with self.database.lock:
            return audit.head(self.database.connection, self.study.hash)


def _hashed(token: str) -> str:
    # A token has 256 random bits: no slow hash is needed against guessing.
    return hashlib.sha256(token.encode()).hexdigest()
