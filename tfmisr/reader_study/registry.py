"""The readers of a study: accounts, tokens, display checks, and whether the study is still open (R-10, R-12, R-17)."""

import datetime
import hashlib
import json
import re
import secrets
from collections.abc import Callable

from tfmisr.edge.errors import InputError, hint
from tfmisr.reader_study import audit, ordering
from tfmisr.reader_study.database import COMMAND_LINE, Database
from tfmisr.reader_study.frozen import Study

# Prefix of the labels of simulated readers.
SIMULATED = "simulated-"


class Registry:
    """Readers and their tokens; `tfmisr.reader_study.store.Store` adds trials and answers.

    Args:
        study: The frozen study.
        now: Returns the current time with its time zone; UTC by default.

    Attributes:
        study: The frozen study.
        database: Its database.

    Raises:
        InputError: See `tfmisr.reader_study.database.Database`.
    """

    def __init__(self, study: Study, now: Callable[[], datetime.datetime] | None = None):
        self.study = study
        self.database = Database(study, now)

    def __enter__(self) -> "Registry":
        return self

    def __exit__(self, *_):
        self.database.close()

    def add_reader(self, label: str, simulated: bool = False) -> str:
        """Adds a reader with all trials in randomized order.

        Args:
            label: Unique label of 1 to 40 letters, digits, spaces, dots or hyphens.
            simulated: Whether the reader is simulated; exactly these have labels that begin with `SIMULATED`.

        Returns:
            The reader's token. The database stores only its hash.

        Raises:
            InputError: The label is taken or inadmissible, or the study is closed.
        """
        if not re.fullmatch(r"\w[\w .-]{0,39}", label):
            raise InputError(
                f"a reader's label has 1 to 40 letters, digits, spaces, dots or hyphens. Received: {label!r}"
            )
        if label.startswith(SIMULATED) != simulated:
            raise InputError(f"labels that begin with {SIMULATED} belong to simulated readers. Received: {label}")
        token = secrets.token_urlsafe(32)
        order = ordering.order(self.study.plan, label)
        with self.database.write(COMMAND_LINE) as log:
            self._require_open()
            if self.database.rows("SELECT 1 FROM readers WHERE label = ?", label):
                raise InputError(f"there is already a reader called {label}; --reissue makes a new link")
            row = (label, _hash(token), int(simulated), self.database.time())
            reader = self.database.execute(
                "INSERT INTO readers (label, token_hash, simulated, created_at) VALUES (?, ?, ?, ?)", *row
            ).lastrowid
            for position, trial in enumerate(order, 1):
                self._add_trial(reader, position, trial)
            log("reader", {"label": label, "simulated": simulated, "trials": len(order)})
        return token

    def _add_trial(self, reader: int, position: int, trial: ordering.Trial) -> None:
        arms = json.dumps(trial.arms)
        values = (reader, position, trial.session, trial.case, arms, trial.training, trial.repeat)
        trial_id = self.database.execute(
            'INSERT INTO trials (reader, position, session, "case", arms, training, repeat, token) '
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            *(*values, secrets.token_urlsafe(24)),
        ).lastrowid
        for place, (role, digest) in enumerate(self.study.panes(trial.case, trial.arms)):
            row = (secrets.token_urlsafe(24), trial_id, place, role, digest)
            self.database.execute("INSERT INTO panes VALUES (?, ?, ?, ?, ?)", *row)

    def reissue(self, label: str) -> str:
        """Returns a new token for a reader and invalidates the old one.

        Raises:
            InputError: There is no such reader.
        """
        token = secrets.token_urlsafe(32)
        with self.database.write(COMMAND_LINE) as log:
            changed = self.database.execute(
                "UPDATE readers SET token_hash = ? WHERE label = ?", _hash(token), label
            ).rowcount
            if not changed:
                raise InputError(
                    f"expected one of the readers {', '.join(self.labels()) or '(none)'}. "
                    f"Received: {label}{hint(label, self.labels(), 0.6)}"
                )
            log("reissued", {"label": label})
        return token

    def new_admin(self) -> str:
        """Returns a new token for the study coordinator's page and invalidates the old one."""
        token = secrets.token_urlsafe(32)
        with self.database.write(COMMAND_LINE) as log:
            self.database.set("admin", _hash(token))
            log("admin", {})
        return token

    def is_admin(self, token: str) -> bool:
        """Returns whether a token is that of the study coordinator."""
        return secrets.compare_digest(self.database.meta("admin") or "", _hash(token))

    def reader_of(self, token: str) -> int | None:
        """Returns the number of the reader to whom a token belongs, or `None`."""
        rows = self.database.rows("SELECT id FROM readers WHERE token_hash = ?", _hash(token))
        return rows[0][0] if rows else None

    def readers(self) -> list[tuple[int, str]]:
        """Returns the number and the label of each reader."""
        return self.database.rows("SELECT id, label FROM readers ORDER BY id")

    def labels(self) -> list[str]:
        """Returns the labels of all readers."""
        return [label for _, label in self.readers()]

    def label(self, reader: int) -> str:
        """Returns the label of a reader."""
        return self.database.rows("SELECT label FROM readers WHERE id = ?", reader)[0][0]

    def record_display(self, reader: int, content: dict) -> None:
        """Stores a display check: the reader's answers and the page's measurements (R-10)."""
        label = self.label(reader)
        with self.database.write(label) as log:
            row = (reader, self.database.time(), json.dumps(content, sort_keys=True))
            self.database.execute("INSERT INTO displays VALUES (?, ?, ?)", *row)
            log("display", content)

    def displays(self, reader: int) -> list[dict]:
        """Returns all display checks of a reader, oldest first."""
        rows = self.database.rows("SELECT at, content FROM displays WHERE reader = ? ORDER BY rowid", reader)
        return [{"at": at, **json.loads(content)} for at, content in rows]

    def log_event(self, actor: str, event: str, details: dict) -> None:
        """Appends a row to the audit log.

        Args:
            actor: Label of the reader, or `command line`.
            event: Kind of event, one word.
            details: JSON-serializable details of the event.
        """
        with self.database.write(actor) as log:
            log(event, details)

    def record_url(self, url: str) -> None:
        """Stores the address at which the server of this study was started last."""
        with self.database.write(COMMAND_LINE):
            self.database.set("url", url)

    def url(self) -> str | None:
        """Returns the address at which the server of this study was started last, or `None` before it ever was."""
        return self.database.meta("url")

    def closed_at(self) -> str | None:
        """Returns when the study was closed, or `None` while it is open."""
        return self.database.meta("closed_at")

    def _require_open(self) -> None:
        if at := self.closed_at():
            raise InputError(f"the study was closed at {at}")

    def close_study(self) -> None:
        """Closes the study permanently: no more answers are accepted.

        Raises:
            InputError: The study is already closed.
        """
        with self.database.write(COMMAND_LINE) as log:
            self._require_open()
            at = self.database.time()
            self.database.set("closed_at", at)
            readers = {row["label"]: [row["answered"], row["trials"]] for row in self.progress()}
            log("closed", {"closed_at": at, "readers": readers})

    def progress(self) -> list[dict]:
        """Returns the progress of each reader.

        Returns:
            For each reader a dictionary of label, simulated, trials, answered, last_at (time of the last answer) and
            too_fast (number of answers below the minimum time).
        """
        query = """
            SELECT label, simulated, count(DISTINCT trials.id), count(DISTINCT commits.trial), max(committed_at),
                count(DISTINCT CASE WHEN too_fast THEN commits.trial END)
            FROM readers JOIN trials ON reader = readers.id LEFT JOIN commits ON trial = trials.id
            GROUP BY readers.id ORDER BY readers.id
        """
        keys = ("label", "simulated", "trials", "answered", "last_at", "too_fast")
        rows = [dict(zip(keys, row, strict=True)) for row in self.database.rows(query)]
        return [{**row, "simulated": bool(row["simulated"])} for row in rows]

    def audit_head(self) -> tuple[int, str]:
        """Returns the number of rows of the audit log, and the hash of the last one."""
        with self.database.lock:
            return audit.head(self.database.connection, self.study.hash)


def _hash(token: str) -> str:
    # A token has 256 random bits: a slow password hash is not needed against guessing.
    return hashlib.sha256(token.encode()).hexdigest()
