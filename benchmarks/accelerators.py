"""Placement, cycles and memory of `.tflite` files on Arm's Ethos-U, as estimated by Arm's compiler Vela.

Vela (`pip install ethos-u-vela`, Apache-2.0) compiles a file for one configuration of the NPU: which operators run on
it and which fall back to the CPU, and its model of performance: cycles, milliseconds at the clock of the chosen system,
SRAM and other memory. Nothing runs on a device: the cycles are Vela's estimate. One window of the file's own size is
one inference; kpixel/s is the output that is kept of it, without the overlap.

    python benchmarks/accelerators.py fast-x2 best-x4
    python benchmarks/accelerators.py exported/*_ethos-u55.tflite --configurations ethos-u55-128 ethos-u55-256
    python benchmarks/accelerators.py exported/*_ethos-u85.tflite --require_placed

Exit status 1 with --require_placed: an operator falls back to the CPU.
"""

import argparse
import csv
import dataclasses
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from tfmisr import cli
from tfmisr.edge import card, shipped
from tfmisr.edge.errors import InputError

# One of each kind, of middle size.
CONFIGURATIONS = ("ethos-u55-128", "ethos-u65-256", "ethos-u85-256")


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What Vela reports on one file.

    Attributes:
        npu: Number of operators on the NPU.
        cpu: Number of operators that fall back to the CPU.
        fallbacks: Their names, each once.
        system: Vela's system and memory mode, which its estimate is for.
        cycles: Of one inference.
        milliseconds: The same at the clock of the system.
        memory: KiB by kind of memory, without those that are not used.
    """

    npu: int
    cpu: int
    fallbacks: tuple[str, ...]
    system: str
    cycles: int
    milliseconds: float
    memory: dict[str, float]


def find(program: str | None = None) -> str:
    """Returns the path of Vela: the one given, that of this Python's environment, or the one on PATH.

    Raises:
        InputError: There is none.
    """
    beside = pathlib.Path(sys.executable).with_name("vela")
    found = shutil.which(program or (str(beside) if beside.exists() else "vela"))
    if found is None:
        raise InputError(f"expected Arm's compiler, found no {program or 'vela'}. Run: pip install ethos-u-vela")
    return found


def compiled(path: pathlib.Path, configuration: str, vela: str) -> Compiled:
    """Compiles a file in a temporary folder.

    Args:
        path: The `.tflite` file.
        configuration: Such as `ethos-u55-128`.
        vela: Path of the program.

    Raises:
        InputError: Vela refuses the file or the configuration.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [vela, str(path), "--accelerator-config", configuration, "--output-dir", folder]
        done = subprocess.run(command, capture_output=True, text=True)
        output = done.stdout + done.stderr
        summaries = list(pathlib.Path(folder).glob("*_summary_*.csv"))
        if done.returncode or not summaries:
            last = (output.strip().splitlines() or ["no output"])[-1]
            raise InputError(f"vela cannot compile {path.name} for {configuration}: {last}")
        (row,) = csv.DictReader(summaries[0].read_text().splitlines())
    return _parsed(output, row)


def _parsed(output: str, row: dict[str, str]) -> Compiled:
    npu, cpu = (int(re.search(rf"^{kind} operators = (\d+)", output, re.MULTILINE)[1]) for kind in ("NPU", "CPU"))
    fallbacks = re.findall(r"\(supported operators\) operator: (\w+)", output)
    kinds = ("sram", "dram", "on_chip_flash", "off_chip_flash")
    memory = {kind: float(row[f"{kind}_memory_used"]) for kind in kinds}
    return Compiled(
        npu,
        cpu,
        tuple(dict.fromkeys(fallbacks)),
        f"{row['system_config']}, {row['memory_mode']}",
        int(float(row["cycles_total"])),
        1e3 * float(row["inference_time"]),
        {kind: size for kind, size in memory.items() if size},
    )


def kept_pixels(path: pathlib.Path) -> int:
    """Returns the output pixels of one window that are not overlap."""
    from tfmisr.quantization import tflite_schema

    fields = card.read(path)
    graph = tflite_schema.parse(path.read_bytes()).subgraphs[0]
    height, width = graph.tensors[graph.inputs[0]].shape[1:3]
    overlap = 2 * (fields["overlap"] or 0)
    return int((height - overlap) * (width - overlap)) * fields["scale"] ** 2


def table(rows: list[tuple[pathlib.Path, str, Compiled]]) -> str:
    """Returns the results in Markdown."""
    lines = [
        "| file | configuration | on the NPU | on the CPU | Mcycles | ms | kpixel/s | memory, KiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for path, configuration, result in rows:
        every = result.npu + result.cpu
        memory = ", ".join(f"{kind.replace('_', ' ')} {size:.0f}" for kind, size in result.memory.items())
        speed = kept_pixels(path) / result.milliseconds
        lines.append(
            f"| {path.name} | {configuration} | {result.npu} of {every} ({100 * result.npu / every:.1f} %) | "
            f"{', '.join(result.fallbacks) or 'none'} | {result.cycles / 1e6:.1f} | {result.milliseconds:.1f} | "
            f"{speed:.0f} | {memory} |"
        )
    systems = dict.fromkeys(f"{configuration}: {result.system}" for _, configuration, result in rows)
    closing = (
        "Cycles and memory of the NPU alone, without the operators on the CPU. Systems: " + "; ".join(systems) + "."
    )
    return "\n".join([*lines, "", closing])


def main(argv: list[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL", help=".tflite files, or names of shipped ones")
    parser.add_argument("--configurations", nargs="+", default=CONFIGURATIONS, metavar="NAME", help="of the NPU")
    parser.add_argument("--vela", metavar="PROGRAM", help="path of vela (default: of this environment, or on PATH)")
    parser.add_argument("--require_placed", action="store_true", help="exit with 1 if an operator runs on the CPU")
    arguments = parser.parse_args(argv)
    vela = find(arguments.vela)
    version = subprocess.run([vela, "--version"], capture_output=True, text=True).stdout.strip()
    paths = [shipped.path(name) if shipped.is_name(name) else pathlib.Path(name) for name in arguments.models]
    for path in paths:
        card.read(path)
    rows = [(path, name, compiled(path, name, vela)) for path in paths for name in arguments.configurations]
    print(f"Vela {version}, an estimate; nothing ran on a device.\n\n{table(rows)}")
    return int(arguments.require_placed and any(result.cpu for _, _, result in rows))


if __name__ == "__main__":
    cli.run(main)
