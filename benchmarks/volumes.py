"""Through-plane super-resolution of real volumes and phantoms: the targets of V-14, against other methods.

Thin volumes are thickened by a Gaussian profile whose width is the distance between slices, and restored by
interpolations, by our self-supervised method, and by SMORE (`tfmisr.volumes.smore`), each trained on the volume alone.
A cell is one volume, ratio and method; a finished one is kept in `--output` and not computed again.

    python benchmarks/volumes.py ../shared/data/volumes --minutes 10 --output runs/volumes
    python benchmarks/volumes.py ../shared/data/volumes --steps 900 --only chris_t1 --ratios 4 --output runs/volumes
"""

import argparse
import dataclasses
import json
import os
import pathlib
import platform
import time
from collections.abc import Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tfmisr.datasets.phantom_volume import phantom
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import write_text
from tfmisr.edge.volumes import Volume, planes, reading
from tfmisr.evaluation import results
from tfmisr.evaluation.volume_measures import Truth, measure
from tfmisr.evaluation.volume_protocol import REFERENCE, VolumeProtocol, VolumesHash
from tfmisr.volumes import methods
from tfmisr.volumes.thickening import Thickening

METHODS = (REFERENCE, "linear", "lanczos", "smore", "self")
# Volume to ratios: T1 x4 and CT x3 have targets, x2 and 2.5 must be better than the spline on each.
VOLUMES = {
    "chris_t1": (4.0, 2.0, 2.5),
    "CT_AVM": (3.0, 2.0, 2.5),
    "MR_Gd": (4.0, 2.0, 2.5),
    "phantom_head_MR": (3.0,),
    "phantom_chest_CT": (3.0,),
}
TARGETS = {("chris_t1", 4.0): 1.8, ("CT_AVM", 3.0): 4.4}  # dB over the spline on the foreground
LEAST = -0.05  # dB over the spline, on every volume


@dataclasses.dataclass(frozen=True)
class Cell:
    """One volume, ratio and method."""

    volume: str
    ratio: float
    method: str

    def path(self, folder: pathlib.Path) -> pathlib.Path:
        """Returns the file of its result."""
        return folder / f"{self.volume}_x{self.ratio:g}_{self.method}.json"


def read(name: str, folder: pathlib.Path) -> Volume:
    """Returns a volume of the folder, or a phantom of 1 mm."""
    if name.startswith("phantom"):
        _, kind, modality = name.split("_")
        return phantom.phantom(phantom.grid(1.0), 0, kind, modality)
    return reading.read(folder / f"{name}.nii.gz").volume


def cells(arguments: argparse.Namespace) -> Iterator[Cell]:
    """Yields the cells to compute, volume by volume."""
    for volume, ratios in VOLUMES.items():
        for ratio in ratios:
            chosen = not arguments.ratios or ratio in arguments.ratios
            if chosen and (not arguments.only or volume in arguments.only):
                yield from (Cell(volume, ratio, method) for method in METHODS if method in arguments.methods)


def compute(cell: Cell, thin: Volume, effort: methods.Effort) -> dict:
    """Returns scores, seconds and protocol of a cell."""
    thickening, digest = Thickening(cell.ratio), VolumesHash()
    digest.add(thin)
    thick, profile, grid, inside = thickening.apply(thin)
    method = methods.load(cell.method, effort)
    start, busy = time.perf_counter(), time.process_time()
    values = method.restore(thick, profile, grid, planes.UnitScale.of(thin.values))
    seconds = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - busy}
    scores = measure(Truth(thin.values[inside], grid.spacing, thick.grid.spacing[0]), values)
    protocol = VolumeProtocol(1, digest.hexdigest(), cell.ratio, str(thickening)).hash
    return {**dataclasses.asdict(cell), "training": method.description, "protocol": protocol, **seconds, **scores}


def known(path: pathlib.Path, training: str) -> dict | None:
    """Returns the result of a finished cell, `None` where there is none, or one of another training."""
    if not path.is_file():
        return None
    result = json.loads(path.read_text(encoding="utf-8"))
    return result if result["training"] == training else None


def table(found: list[dict]) -> str:
    """Returns a Markdown table with the gains over the spline."""
    titles = (
        "volume | ratio | method | foreground [dB] | gain [dB] | all [dB] | SSIM coronal | SSIM sagittal | edge FWHM"
    )
    titles += " [mm] | detail energy | correlation | bias | wall s | CPU s | target"
    lines = [f"| {titles} |", "|---|---:|---|" + "---:|" * 11 + "---|"]
    reference = {(r["volume"], r["ratio"]): r for r in found if r["method"] == REFERENCE}
    for row in found:
        base = reference.get((row["volume"], row["ratio"]), {})
        numbers = [row[key] for key in ("psnr", "ssim_coronal", "ssim_sagittal", "edge_fwhm", "detail_energy")]
        cells = [f"{v:{style}}" for v, style in zip(numbers, (".2f", ".4f", ".4f", ".2f", ".3f"), strict=True)]
        gain = row["psnr_foreground"] - base["psnr_foreground"] if base else None
        more = [f"{row['detail_correlation']:.2f}", f"{row['bias']:+.2f}", f"{row['seconds']:.0f}"]
        more.append(f"{row['cpu_seconds']:.0f}")
        shown = "-" if gain is None else f"{gain:+.2f}"
        first = [row["volume"], f"{row['ratio']:g}", row["method"], f"{row['psnr_foreground']:.2f}", shown]
        lines.append(f"| {' | '.join([*first, *cells, *more, verdict(row, base, gain)])} |")
    return "\n".join(lines)


def verdict(row: dict, base: dict, gain: float | None) -> str:
    """Returns whether our method meets V-14 on a volume: the gain, and SSIM of both planes across the slices."""
    if row["method"] != "self" or gain is None:
        return ""
    target = TARGETS.get((row["volume"], row["ratio"]), 0.0 if row["ratio"] in (2.0, 2.5) else LEAST)
    better = all(row[f"ssim_{plane}"] > base[f"ssim_{plane}"] for plane in ("sagittal", "coronal"))
    return f"{target:+.2f} dB {'met' if gain >= target else 'MISSED'}, SSIM {'both better' if better else 'NOT BETTER'}"


def machine() -> str:
    """Returns processor, cores that this process may use, and load."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{names[0] if names else platform.machine()}, {cores} cores{load}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="with chris_t1, CT_AVM and MR_Gd (.nii.gz)")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/volumes"), help="finished cells")
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--only", nargs="+", choices=tuple(VOLUMES), help="volumes")
    parser.add_argument("--ratios", nargs="+", type=float)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.steps is None and arguments.minutes is None:
        raise SystemExit("give --steps or --minutes")
    effort = methods.Effort(arguments.steps, arguments.minutes, arguments.seed)
    arguments.output.mkdir(parents=True, exist_ok=True)
    found, thin, name = [], None, None
    for cell in cells(arguments):
        result = known(cell.path(arguments.output), methods.load(cell.method, effort).description)
        if result is None:
            thin, name = (thin, name) if name == cell.volume else (read(cell.volume, arguments.folder), cell.volume)
            try:
                result = compute(cell, thin, effort)
            except InputError as error:
                print(f"{cell.volume} x{cell.ratio:g} {cell.method}: {error}", flush=True)
                continue
            write_text(cell.path(arguments.output), json.dumps(results.finite(result), indent=1) + "\n")
        print(f"{cell.volume} x{cell.ratio:g} {cell.method}: {result['psnr_foreground']:.2f} dB", flush=True)
        found.append(result)
    print(f"\n{table(found)}\n\n{effort}; {machine()}")


if __name__ == "__main__":
    main()
