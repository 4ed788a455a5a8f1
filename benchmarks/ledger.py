"""Measures the bookkeeping of a large archive: list, compare and resume, of a synthetic manifest (S-04).

    python benchmarks/ledger.py --rows 1000000

All sources and results exist (empty files, so that a million need no space), and the ledger says that all but a few are
done: what is measured is what a second start costs beside the work itself. Peak memory is that of this process.
"""

import argparse
import csv
import json
import os
import pathlib
import resource
import tempfile
import time

from tfmisr import cluster
from tfmisr.cluster import manifest, parts, status
from tfmisr.inference import archive
from tfmisr.inference.batch import BatchUpscaler

PER_FOLDER, SOURCES = 1000, 1000


def prepare(folder: pathlib.Path, rows: int) -> None:
    """Writes the manifest, `SOURCES` sources and all results."""
    (folder / "in").mkdir()
    for i in range(SOURCES):
        (folder / "in" / f"{i}.png").touch()
    with open(folder / "manifest.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["source", "target"])
        for i in range(rows):
            writer.writerow([f"in/{i % SOURCES}.png", f"{i // PER_FOLDER}/{i}.png"])
            if i % PER_FOLDER == 0:
                (folder / "out" / str(i // PER_FOLDER)).mkdir(parents=True)
            (folder / "out" / str(i // PER_FOLDER) / f"{i}.png").touch()


def start(folder: pathlib.Path, pending: int) -> dict[str, float]:
    """Lists and compares as a start of the command does, and returns seconds of each part."""
    times, begin = {}, time.perf_counter()

    def lap(name):
        nonlocal begin
        times[name], begin = time.perf_counter() - begin, time.perf_counter()

    output = str(folder / "out")
    with parts.opened(output) as (ledger, _):
        count = ledger.begin(manifest.read(str(folder / "manifest.csv")))
        lap("list")
        target = archive.Archive(output, BatchUpscaler("bicubic", 2))
        done = archive.compare(ledger, target, overwrite=False)
        lap("compare")
        found = sum(1 for _ in ledger.entries("pending"))
        lap("find pending")
    if done + found != count or found != pending:
        raise SystemExit(f"expected {pending} pending of {count}, found {found} and {done} done")
    return times


def record(folder: pathlib.Path, left: int) -> float:
    """Records all images but `left` as done and returns the seconds."""
    begin = time.perf_counter()
    output = str(folder / "out")
    target = archive.Archive(output, BatchUpscaler("bicubic", 2))
    with parts.opened(output) as (ledger, _):
        for i, entry in enumerate(ledger.entries("pending")):
            if i >= left:
                info = os.stat(entry.source)
                fields = {"identity": target.identity(entry.options), "stamp": f"{info.st_size} {info.st_mtime_ns}"}
                ledger.record(entry.target, "done", size=0, seconds=0.05, tries=1, sha256="0" * 64, **fields)
    return time.perf_counter() - begin


def overhead(count: int) -> dict[str, float]:
    """Returns seconds per job that does nothing, with two processes and with two Dask workers."""
    found = {}
    for address in ("", "local:2"):
        with cluster.connect(address, cluster.Options(processes=2)) as client:
            list(cluster.run(client, "math:sqrt", [(f"warm {i}", 1.0) for i in range(20)]))
            begin = time.perf_counter()
            for _ in cluster.run(client, "math:sqrt", ((str(i), 1.0) for i in range(count))):
                pass
            found[address or "processes"] = (time.perf_counter() - begin) / count
    return found


def main() -> None:
    """Measures and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--jobs", type=int, default=1000, help="jobs that do nothing, for the overhead of one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tfmisr-benchmark-") as name:
        folder = pathlib.Path(name)
        prepare(folder, arguments.rows)
        first = start(folder, arguments.rows)
        recorded = record(folder, 10)
        second = start(folder, 10)
        begin = time.perf_counter()
        lines = status.of_folder(str(folder / "out")).lines()
        print(json.dumps({
            "rows": arguments.rows,
            "first start, s": first,
            "record all, s": recorded,
            "second start, s": second,
            "second start, ms an image": 1000 * sum(second.values()) / arguments.rows,
            "status, s": time.perf_counter() - begin,
            "ledger, MB": (folder / "out" / ".tfmisr" / "ledger.sqlite").stat().st_size / 1e6,
            "peak memory, MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
            "counts": lines[0],
            "overhead of a job, s": overhead(arguments.jobs),
        }, indent=2))  # fmt: skip


if __name__ == "__main__":
    main()
