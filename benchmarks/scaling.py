"""Costs of large jobs from measured unit costs: an archive of images, and training on many GPUs.

Computes the tables of docs/scaling.md. Unit costs are measured on the machine at hand with `--measure FILE`, which
writes them as JSON, or read from such a file. Link speeds and prices are assumptions; flags change the prices.

    python benchmarks/scaling.py --measure docs/scaling.json --page docs/scaling.md
    python benchmarks/scaling.py --costs docs/scaling.json --images 1e7 --cores 64

A ring all-reduce of G bytes over N devices sends and receives 2 (N - 1) / N times G bytes on each (Patarasuk and Yuan,
Bandwidth optimal all-reduce algorithms for clusters of workstations, J. Parallel Distrib. Comput. 69, 2009,
https://doi.org/10.1016/j.jpdc.2008.09.002); a step is never shorter than that takes on the slowest link.
"""

import argparse
import json
import math
import pathlib

from tfmisr import cli
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import write_text

# Parameters that are trained, and so bytes of gradients in float32 / 4; counted by keras (tests/test_scaling.py).
PARAMETERS = {
    "fast_x4": 268_368,
    "best_x4": 563_792,
    "paper_cnn": 603_984,
    "paper_gan": 492_432 + 4_306_561,
}
GPUS = (1, 8, 64)
# Assumed, in bytes a second and direction: NVLink 4 of a data-center GPU (450 GB/s by its data sheet), and one port of
# 100 Gbit/s for each host of 8 devices, which a ring passes once.
LINKS = {"NVLink": 450e9, "100 Gbit/s between hosts": 100e9 / 8}
LATENCY = 20e-6  # assumed: seconds of one of the 2 (N - 1) messages of a ring
_MARKS = ("<!-- tables of benchmarks/scaling.py -->", "<!-- end of the tables -->")
PUT_PARTS = 1  # an object below 5 GiB is one PUT: written atomically


def make_parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--measure", type=pathlib.Path, metavar="FILE", help="measure the unit costs, minutes; write them"
    )
    what.add_argument("--costs", type=pathlib.Path, metavar="FILE", help="unit costs, as --measure writes them")
    parser.add_argument("--page", type=pathlib.Path, help="also put the tables into this page, between its marks")
    parser.add_argument("--images", type=float, default=1e7, help="images of the archive")
    parser.add_argument("--cores", type=int, nargs="+", default=[2, 64, 1024], help="cores to share the work")
    parser.add_argument("--overhead", type=float, default=1.25, help="assumed: factor of distribution (S-08's limit)")
    parser.add_argument("--task_ms", type=float, default=1.0, help="assumed: ms of Dask's scheduler for a task")
    parser.add_argument("--core_hour", type=float, default=0.04, help="assumed price of a core for an hour")
    parser.add_argument("--put_price", type=float, default=5e-6, help="assumed price of a PUT request")
    parser.add_argument("--get_price", type=float, default=4e-7, help="assumed price of a GET request")
    parser.add_argument("--gb_month", type=float, default=0.023, help="assumed price of a GB stored for a month")
    parser.add_argument("--step_ms", type=float, help="measured ms of a step on one GPU (default: none was tried)")
    parser.add_argument("--batch", type=int, default=256, help="patches of a step on each GPU")
    return parser


def archive_row(cost: dict, images: float, cores: int, overhead: float) -> dict[str, float]:
    """Returns what a job on an archive takes.

    Args:
        cost: `seconds` of one core for an image, `bytes_in` and `bytes_out` of its files.
        images: Images of the archive.
        cores: Cores that share the work.
        overhead: Factor of distribution on the time.

    Returns:
        Core hours, hours on these cores, bytes read and written, and bytes a second that the store must give.
    """
    core_seconds = cost["seconds"] * images * overhead
    hours = core_seconds / cores / 3600
    traffic = images * (cost["bytes_in"] + cost["bytes_out"])
    return {
        "core_hours": core_seconds / 3600,
        "hours": hours,
        "bytes_in": images * cost["bytes_in"],
        "bytes_out": images * cost["bytes_out"],
        "bytes_per_s": traffic / (3600 * hours),
        "requests_per_s": 2 * images / (3600 * hours),
    }


def scheduler_cores(cost: dict, overhead: float, task_ms: float, images_per_task: int = 1) -> float:
    """Returns how many cores one scheduler, which spends `task_ms` on a task, keeps busy."""
    return images_per_task * cost["seconds"] * overhead / (task_ms / 1e3)


def price_per_million(cost: dict, prices: argparse.Namespace) -> dict[str, float]:
    """Returns the cost of a million images: computing, requests (one GET, one PUT each), and storage for a month."""
    million = 1e6
    return {
        "cores": cost["seconds"] * prices.overhead * million / 3600 * prices.core_hour,
        "requests": million * (prices.get_price + PUT_PARTS * prices.put_price),
        "storage": million * cost["bytes_out"] / 1e9 * prices.gb_month,
    }


def all_reduce_bytes(gradient_bytes: float, devices: int) -> float:
    """Returns the bytes that each device sends in a ring all-reduce; see the module for the source."""
    return 2 * (devices - 1) / devices * gradient_bytes


def all_reduce_seconds(gradient_bytes: float, devices: int, bytes_per_s: float, latency: float = LATENCY) -> float:
    """Returns the least time of a ring all-reduce on links of that speed, with 2 (N - 1) messages one after another."""
    return all_reduce_bytes(gradient_bytes, devices) / bytes_per_s + 2 * (devices - 1) * latency


def smallest_step(gradient_bytes: float, devices: int, bytes_per_s: float, efficiency: float = 0.9) -> float:
    """Returns the shortest step, in seconds, of which communication after the backward pass takes 1 - efficiency."""
    return all_reduce_seconds(gradient_bytes, devices, bytes_per_s) * efficiency / (1 - efficiency)


def table(header: list[str], rows: list[list[str]]) -> str:
    """Returns a table in Markdown; the columns after the first are aligned to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def archive_tables(costs: dict, arguments: argparse.Namespace) -> str:
    """Returns the tables of unit costs, of the whole archive, and of prices."""
    units = [
        [
            name,
            f"{1e3 * c['seconds']:.0f}",
            f"{c['start_seconds']:.1f}",
            f"{c['bytes_in'] / 1e3:.0f}",
            f"{c['bytes_out'] / 1e3:.0f}",
            f"{scheduler_cores(c, arguments.overhead, arguments.task_ms):,.0f}",
        ]
        for name, c in costs["jobs"].items()
    ]
    header = ["one image, one core", "ms", "start [s]", "kB read", "kB written", "cores of one scheduler"]
    text = table(header, units) + "\n"
    rows, prices = [], []
    for name, cost in costs["jobs"].items():
        for cores in arguments.cores:
            row = archive_row(cost, arguments.images, cores, arguments.overhead)
            rows.append(
                [
                    f"{name}, {cores:,} cores",
                    f"{row['core_hours']:,.0f}",
                    f"{row['hours']:,.1f}",
                    f"{row['bytes_in'] / 1e12:.2f}",
                    f"{row['bytes_out'] / 1e12:.2f}",
                    f"{row['bytes_per_s'] / 1e6:,.1f}",
                    f"{row['requests_per_s']:,.0f}",
                ]
            )
        price = price_per_million(cost, arguments)
        prices.append([name, *(f"{each:,.2f}" for each in price.values())])
    header = ["job", "core hours", "hours", "TB read", "TB written", "MB/s of the store", "requests/s"]
    text += table(header, rows) + "\n"
    return text + table(["a million images", "cores", "requests", "storage, a month"], prices)


def training_table(arguments: argparse.Namespace) -> str:
    """Returns the table of communication: bytes of a step, time on each link, and the step that hides it."""
    rows = []
    for name, parameters in PARAMETERS.items():
        for devices in GPUS[1:]:
            size = 4 * parameters
            cells = [f"{name}, {devices} GPUs", f"{devices * arguments.batch:,}", f"{size / 1e6:.2f}"]
            cells.append(f"{all_reduce_bytes(size, devices) / 1e6:.2f}")
            for speed in LINKS.values():
                milliseconds = 1e3 * all_reduce_seconds(size, devices, speed)
                cells.append(f"{milliseconds:.2f}")
            cells.append(f"{1e3 * smallest_step(size, devices, _link(devices)):.1f}")
            if arguments.step_ms:
                communication = 1e3 * all_reduce_seconds(size, devices, _link(devices))
                cells.append(f"{devices * arguments.step_ms / (arguments.step_ms + communication):.1f}")
            rows.append(cells)
    header = ["network", "batch", "gradients [MB]", "sent by each [MB]", *(f"{name} [ms]" for name in LINKS)]
    header += ["least step for 90 % [ms]", *([f"speed-up at {arguments.step_ms:g} ms"] if arguments.step_ms else [])]
    return table(header, rows)


def _link(devices: int) -> float:
    """Returns the speed of the slowest link: 8 devices are one host."""
    inside, between = LINKS.values()
    return inside if devices <= 8 else between


def report(costs: dict, arguments: argparse.Namespace) -> str:
    """Returns all tables, with what they were made of."""
    return (
        f"Unit costs: {costs['machine']}, load {costs['load']:.0f}, {costs['date']}; {arguments.images:,.0f} images; "
        f"distribution {arguments.overhead:g}; a core {arguments.core_hour:g} an hour, a PUT {arguments.put_price:g}, "
        f"a GET {arguments.get_price:g}, a GB {arguments.gb_month:g} a month; {arguments.batch} patches a GPU.\n\n"
        f"{archive_tables(costs, arguments)}\n{training_table(arguments)}"
    )


def put_into(page: pathlib.Path, text: str) -> None:
    """Puts the tables between the marks of a page.

    Raises:
        InputError: The page has no marks.
    """
    before, begin, rest = page.read_text(encoding="utf-8").partition(_MARKS[0])
    _, end, after = rest.partition(_MARKS[1])
    if not begin or not end:
        raise InputError(f"expected the marks {_MARKS[0]} and {_MARKS[1]} in {page}")
    write_text(page, f"{before}{begin}\n\n{text}\n{end}{after}")


def main(argv: list[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    arguments = make_parser().parse_args(argv)
    if not (math.isfinite(arguments.images) and arguments.images >= 1) or min(arguments.cores) < 1:
        raise InputError("--images and --cores must be at least 1")
    if arguments.measure:
        import scaling_costs

        costs = scaling_costs.measure()
        write_text(arguments.measure, json.dumps(costs, indent=1) + "\n")
    else:
        costs = json.loads(arguments.costs.read_text(encoding="utf-8"))
    text = report(costs, arguments)
    print(text)
    if arguments.page:
        put_into(arguments.page, text)
    return 0


if __name__ == "__main__":
    cli.run(main)
