"""Destinations of an object that comes again: by the rule of another sender, or after a change of the configuration.

It is acknowledged again, so what its rule promises must come true for this sender as well. Each destination gets an
object, and its result, once; so nodes in a ring do not send it round without end.
"""

import sqlite3

from tfmisr.gateway import schema, series_arrivals
from tfmisr.gateway.schema import ORIGINAL, PROCESSED, RECEIVED, RESULT, Arrival


def extend(db: sqlite3.Connection, arrival: Arrival) -> None:
    """Queues a received object for destinations that it was not for until now; nothing for what this node made.

    Args:
        db: The queue, in a transaction.
        arrival: The same bytes once more. Its model applies only where the object was for none.
    """
    row = db.execute(
        "SELECT id, model, scale, state, result_to FROM instances WHERE sop_instance_uid = ?",
        (arrival.sop_instance_uid,),
    ).fetchone()
    if row is None or series_arrivals.extend(db, row["id"], arrival):
        return
    schema.insert_deliveries(db, row["id"], ORIGINAL, arrival.original_to)
    if arrival.model and not row["model"]:
        db.execute(
            f"UPDATE instances SET model = ?, scale = ?, state = '{RECEIVED}', reason = '' WHERE id = ?",
            (arrival.model, arrival.scale, row["id"]),
        )
    elif (arrival.model, arrival.scale) != (row["model"], row["scale"]):
        return
    names = dict.fromkeys([*filter(None, row["result_to"].split("\t")), *arrival.result_to])
    db.execute("UPDATE instances SET result_to = ? WHERE id = ?", ("\t".join(names), row["id"]))
    if row["state"] == PROCESSED:
        schema.insert_deliveries(db, row["id"], RESULT, arrival.result_to)
