"""What the tests of series in the gateway's queue share: arrivals, claims, states."""

import dataclasses

import gateway_helpers

from tfmisr.gateway import operating, series, validation
from tfmisr.gateway.schema import Arrival, Member
from tfmisr.gateway.series import DerivedImage

assert gateway_helpers  # skips these tests where the gateway is not installed
MEMBER = Member("1.2.3", "spline", "iso", 60.0, 0)
RULE = """
[node]
ae_title = "NODE"
port = 11112
spool = "spool"
[[sources]]
ae_title = "CT1"
[[destinations]]
name = "archive"
ae_title = "PACS"
address = "localhost"
port = 104
[[rules]]
modality = ["CT"]
send = "original and result"
destinations = ["archive"]
"""


def read(folder, text: str):
    path = folder / "gateway.toml"
    path.write_text(RULE + text, encoding="utf-8")
    return validation.read(path)


def arrival(number: int, member: Member | None = MEMBER, **changes) -> Arrival:
    made = Arrival(
        *(f"1.2.3.{number}", "1.2.840", "1.2.1", f"digest{number}", 10, f"objects/{number}.dcm", "CT1"),
        *("", 0, ("a", "b"), ("a",), "", member),
    )
    return dataclasses.replace(made, **changes)


def derived(*numbers: int) -> list[DerivedImage]:
    return [DerivedImage(f"results/{n}.dcm", f"2.25.{n}", "1.2.840", "1.2.1", f"made{n}", 5) for n in numbers]


def complete(entries, images: int, number: int = 1) -> dict:
    return {number: (images, "none came for 60 s")}


def claim(entries, images: int, number: int = 1):
    return series.claim(entries, complete(entries, images, number))


def events(entries) -> list[str]:
    return [line.split("\t")[2] for line in operating.audit(entries)]


def states(entries, table: str = "instances") -> list[str]:
    return [row[0] for row in entries.rows(f"SELECT state FROM {table} ORDER BY id")]


def due(entries, destination: str) -> list:
    return [(each.instance, each.kind) for each in entries.due(destination, 10)]


def send_all(entries, destination: str, count: int = 10) -> None:
    for delivery in entries.due(destination, count):
        entries.sent(delivery, destination, "")
