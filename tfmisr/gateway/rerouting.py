"""Sends what is in the spool elsewhere, or once more: `quarantine release --destination` and `resend`.

A delivery that gets another destination is a new one with another number: what a running node records about the old one
then changes nothing.
"""

import sqlite3
from collections.abc import Iterable

from tfmisr.edge.errors import InputError, hint
from tfmisr.gateway import entries, header, routes, rules, schema, series_arrivals
from tfmisr.gateway.config import Config
from tfmisr.gateway.queue import Queue
from tfmisr.gateway.schema import (
    FAILED,
    ORIGINAL,
    PASSED,
    PROCESSED,
    PROCESSING,
    QUEUED,
    RECEIVED,
    RESULT,
    SENT,
    Arrival,
)

_SERIES = ("SeriesInstanceUID",)


def release(queue: Queue, settings: Config, names: list[str], destination: str) -> int:
    """Sends quarantined objects to another destination instead of their own, and returns their number.

    With an original its result goes there too; with a result its original, if it was not for this destination.

    Args:
        queue: The queue.
        settings: The configuration.
        names: Entries `delivery:` or `commitment:`.
        destination: Its name.

    Raises:
        InputError: There is no such entry or destination.
    """
    _check_destination(settings, destination)
    with queue.transaction() as db:
        for name in names:
            entry = entries.find(db, settings, name)
            if entry.kind not in ("delivery", "commitment"):
                raise InputError(f"{name} has no destination; expected entries that begin with delivery or commitment")
            _move(db, entry, destination)
    return len(names)


def _move(db: sqlite3.Connection, entry: entries.Entry, destination: str) -> None:
    row = entry.row
    instance = db.execute("SELECT state, result_to FROM instances WHERE id = ?", (row["instance"],)).fetchone()
    with_result = row["destination"] in instance["result_to"].split("\t")
    entries.forget(db, entry)
    schema.insert_deliveries(db, row["instance"], ORIGINAL, [destination])
    if row["kind"] == RESULT or with_result:
        _add_result(db, row["instance"], instance["state"], destination)
    _record(db, "rerouted", row, f"{entry.name} to {destination}")


def _add_result(db: sqlite3.Connection, instance: int, state: str, destination: str) -> bool:
    """Queues a result for a destination, once it is made; false if there will be none."""
    if state not in (RECEIVED, PROCESSING, PROCESSED, FAILED):
        return False
    ((names,),) = db.execute("SELECT result_to FROM instances WHERE id = ?", (instance,))
    known = dict.fromkeys([*filter(None, names.split("\t")), destination])
    db.execute("UPDATE instances SET result_to = ? WHERE id = ?", ("\t".join(known), instance))
    if state == PROCESSED:
        schema.insert_deliveries(db, instance, RESULT, [destination])
    return True


def release_by_rules(queue: Queue, settings: Config, names: list[str]) -> int:
    """Sends quarantined objects where the rules of the present configuration say, and returns their number.

    Objects whose processing is in quarantine are processed as the rule of now says.

    Raises:
        InputError: There is no such entry, or no rule applies to its object.
    """
    with queue.transaction() as db:
        for name in names:
            entry = entries.find(db, settings, name)
            if entry.kind == "conflict":
                raise InputError(f"{name} cannot be released: two objects cannot have one UID")
            if entry.kind == "series" or series_arrivals.is_derived(db, entry.row["instance"]):
                raise InputError(f"no rule is for the series of {name}: release it without --present_rules")
            arrival = _arrival(db, settings, entry)
            if entry.kind == "processing":
                _process(db, settings, entry.row["instance"], arrival)
            else:
                entries.forget(db, entry)
            routes.extend(db, arrival)
            _record(db, "rerouted", entry.row, f"{name} by the present rules")
    return len(names)


def _process(db: sqlite3.Connection, settings: Config, number: int, arrival: Arrival) -> None:
    """Has a given up object processed by the model of a rule."""
    before = db.execute("SELECT model, scale FROM instances WHERE id = ?", (number,)).fetchone()
    if tuple(before) != (arrival.model, arrival.scale):  # a worker uses a result that it finds complete
        (settings.node.spool / "results" / f"{number}.dcm").unlink(missing_ok=True)
    state = RECEIVED if arrival.model else PASSED
    values = arrival.model, arrival.scale, "\t".join(arrival.result_to), state, number
    query = "UPDATE instances SET model = ?, scale = ?, result_to = ?, state = ?, attempts = 0, next_attempt = 0 "
    db.execute(query + "WHERE id = ?", values)


def _arrival(db: sqlite3.Connection, settings: Config, entry: entries.Entry) -> Arrival:
    """Returns an object as if it came now.

    Raises:
        InputError: No rule applies to it, or its file cannot be read.
    """
    row = db.execute("SELECT * FROM instances WHERE id = ?", (entry.row["instance"],)).fetchone()
    try:
        found = header.read(settings.node.spool / row["file"], row["transfer_syntax"])
    except Exception as error:
        raise InputError(f"{entry.name}: its file in the spool cannot be read ({type(error).__name__})") from error
    rule = rules.select(settings, found, row["calling_ae"])
    if rule is None:
        raise InputError(f"{entry.name}: no rule of the configuration applies to its object; name a --destination")
    original, result = rules.destinations(settings, rule, row["calling_ae"])
    if not original and not result:
        raise InputError(f"{entry.name}: the rule of now sends its object to its sender alone; name a --destination")
    identity = (row[key] for key in ("sop_instance_uid", "sop_class_uid", "transfer_syntax", "digest", "size", "file"))
    member = rules.member(rule, settings.node.spool / row["file"], row["transfer_syntax"])
    reason = rules.reason(rule, member)
    return Arrival(*identity, row["calling_ae"], rule.model, rule.scale, original, result, reason, member)


def resend(
    queue: Queue, settings: Config, uids: Iterable[str], series: str, destination: str, results: bool = False
) -> tuple[int, int]:
    """Queues objects of the spool for a destination, also where it has them already.

    Args:
        queue: The queue.
        settings: The configuration.
        uids: SOP Instance UIDs of objects, or of results: a result is sent without its original if that was sent.
        series: Series Instance UID (0020,000E) of objects, or an empty string.
        destination: Its name.
        results: Send the results of the objects as well.

    Returns:
        Number of originals and of results that are queued.

    Raises:
        InputError: There is no such destination, or no such object in the spool.
    """
    _check_destination(settings, destination)
    counts = {ORIGINAL: 0, RESULT: 0}
    numbers = _numbers_of_series(queue, settings, series) if series else []
    with queue.transaction() as db:
        wanted = {uid: _rows_of(db, uid) for uid in uids}
        if series:
            wanted[series] = [row for number in numbers for row in _rows_of(db, number, "id")]
        for uid, rows in wanted.items():
            if not rows:
                raise InputError(
                    "expected a UID of objects that the spool still has; see keep_hours in the configuration. "
                    f"Received: {uid}"
                )
            for row in rows:
                is_result = row["result_uid"] == uid
                _check_file(settings, row, is_result)
                counts[ORIGINAL] += _queue_again(db, row, ORIGINAL, destination, is_new=is_result)
                if results or is_result:
                    counts[RESULT] += _add_result(db, row["id"], row["state"], destination)
                    _queue_again(db, row, RESULT, destination)
                schema.insert_event(db, "resent", row["id"], row["digest"], destination, "by the operator")
    return counts[ORIGINAL], counts[RESULT]


def _rows_of(db: sqlite3.Connection, value: str | int, *keys: str) -> list[sqlite3.Row]:
    return [
        row
        for key in keys or ("sop_instance_uid", "result_uid")
        for row in db.execute(f"SELECT * FROM instances WHERE {key} = ?", (value,)).fetchall()
    ]


def _numbers_of_series(queue: Queue, settings: Config, series: str) -> list[int]:
    """Returns the numbers of the objects of a series; the queue has no Series Instance UIDs: their files are read."""
    found = []
    for row in queue.rows("SELECT id, file, transfer_syntax FROM instances ORDER BY id"):
        try:
            uid = header.parse(settings.node.spool / row["file"], row["transfer_syntax"], _SERIES).get(_SERIES[0])
        except Exception:  # noqa: BLE001
            continue  # no file, or one that cannot be read: of no series
        found += [row["id"]] if uid == series else []
    return found


def _check_file(settings: Config, row: sqlite3.Row, is_result: bool) -> None:
    name = row["result_file"] if is_result else row["file"]
    if not (settings.node.spool / name).is_file():
        raise InputError(f"the file of object {row['id']} is missing in the spool. Nothing was queued")


def _queue_again(db: sqlite3.Connection, row: sqlite3.Row, kind: str, destination: str, is_new: bool = False) -> bool:
    """Queues what a destination has, or was given up; adds an original that was not for it.

    Args:
        db: The queue, in a transaction.
        row: The object.
        kind: `original` or `result`.
        destination: Its name.
        is_new: Only add.
    """
    before = db.total_changes
    if kind == ORIGINAL:
        schema.insert_deliveries(db, row["id"], ORIGINAL, [destination])
    if not is_new:
        where = f"instance = ? AND kind = ? AND destination = ? AND state IN ('{SENT}', '{FAILED}')"
        values = row["id"], kind, destination
        db.execute(f"DELETE FROM commitments WHERE delivery IN (SELECT id FROM deliveries WHERE {where})", values)
        query = f"UPDATE deliveries SET state = '{QUEUED}', attempts = 0, next_attempt = 0, reason = '' WHERE {where}"
        db.execute(query, values)
    return db.total_changes > before


def _record(db: sqlite3.Connection, event: str, row: sqlite3.Row, detail: str) -> None:
    schema.insert_event(db, event, row["instance"], row["digest"], row["destination"], detail)


def _check_destination(settings: Config, name: str) -> None:
    names = [each.name for each in settings.destinations]
    if name not in names:
        raise InputError(f"unknown destination {name}{hint(name, names)}; expected {', '.join(names)}")
