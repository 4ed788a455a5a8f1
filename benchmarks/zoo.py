"""Every network of the zoo on real chest X-rays: trained for equally many steps, evaluated by one protocol, timed.

Each network is trained, evaluated on the full images of the test split and exported in a separate process. The command
may be interrupted and repeated: finished networks are skipped, interrupted runs resume, and in the end it only prints
the tables. Networks too large for a CPU are trained in a smaller size, which is part of the name in the table.

    python benchmarks/zoo.py --data ARCHIVE [ARCHIVE ...] --steps 300 --output runs/zoo
"""

import argparse
import hashlib
import json
import pathlib
import subprocess
import sys
import time

from tfmisr import cli, models
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import write_text

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
CLASSICAL = "interpolations"
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
FLAVORS = ("float32", "int8")
MEASURES = ("psnr", "ssim", "haarpsi")
SIDE = 960  # of the image that multiply-adds are counted for
# A training step costs at most four of cnn5 (forward and backward pass at x4).
SMALLER = {
    "edsr": "num_filters=32,num_blocks=4",
    "imdn": "num_filters=32,num_blocks=4",
    "rcan": "num_filters=32,num_groups=2,num_blocks=2",
    "rdn": "num_filters=32,num_blocks=3,num_layers=3,growth_filters=16",
    "rednet": "red10,num_filters=16",
    "resnet18": "num_filters=32",
    "resnet6": "num_filters=32",
    "rlfn": "num_filters=32,num_blocks=4",
    "rrdb": "num_filters=16,num_blocks=1,growth_filters=8",
    "san": "num_filters=32,num_groups=2,num_blocks=2",
    "srresnet": "num_filters=32,num_blocks=4",
    "vdsr": "num_filters=16,num_layers=12",
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = [SHARED / "ChestX-ray14", SHARED / "ChestX-ray14-512"]
    parser.add_argument("--data", nargs="+", default=default, type=pathlib.Path, help="folders of the archive")
    parser.add_argument("--data_dir", help="where prepared datasets are kept")
    parser.add_argument("--steps", type=int, default=300, help="of 16 patches of 24x24 pixels (default: 300)")
    parser.add_argument("--scales", type=int, nargs="+", default=[2, 4], choices=models.SCALES, metavar="S")
    parser.add_argument("--models", nargs="+", metavar="NAME", help="model or model/variant (default: the whole zoo)")
    parser.add_argument("--rounds", type=int, default=20, help="windows that each file is timed on (default: 20)")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/zoo"))
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    return parser


def main(argv=None) -> int:
    arguments = _parser().parse_args(argv)
    arguments.models = arguments.models or [_sized(name) for name in models.names()]
    if arguments.one:
        do_one(arguments, arguments.models[0], arguments.scales[0])
        return 0
    for name in arguments.models:
        models.check(name)
    cli.require_writable(arguments.output)
    failed = [job for job in _jobs(arguments) if not _done(arguments, *job) and not _start(arguments, *job)]
    complete = [scale for scale in arguments.scales if _done(arguments, CLASSICAL, scale)]
    measured = timed(arguments)
    text = "\n".join(table(arguments, scale, measured) for scale in complete)
    write_text(arguments.output / "zoo.md", text)
    print(text)
    for name, scale in failed:
        print(f"failed: {name} x{scale}; the reason is printed above; run the same command to retry", file=sys.stderr)
    return 1 if failed else 0


def _sized(name: str) -> str:
    return f"{name}/{SMALLER[name]}" if name in SMALLER else name


def _jobs(arguments) -> list[tuple[str, int]]:
    return [(name, scale) for scale in arguments.scales for name in [CLASSICAL, *arguments.models]]


def _folder(arguments, name: str, scale: int) -> pathlib.Path:
    return arguments.output / f"x{scale}" / name.replace("/", "-")


def _done(arguments, name, scale) -> dict | None:
    """Returns the result of a finished job, or `None`."""
    path = _folder(arguments, name, scale) / "result.json"
    if not path.is_file():
        return None
    result = json.loads(path.read_text(encoding="utf-8"))
    if name != CLASSICAL and result["steps"] != arguments.steps:
        raise InputError(f"{path} is from {result['steps']} steps, not {arguments.steps}; choose another --output")
    return result


def _start(arguments, name, scale) -> bool:
    """Runs one job in a separate process; returns whether it succeeded."""
    print(f"{time.strftime('%H:%M:%S')} {name} x{scale}", flush=True)
    flags = ["--one", "--models", name, "--scales", scale, "--steps", arguments.steps, "--output", arguments.output]
    flags += ["--data", *arguments.data, *(["--data_dir", arguments.data_dir] if arguments.data_dir else [])]
    return subprocess.run([sys.executable, __file__, *map(str, flags)]).returncode == 0


def do_one(arguments, name: str, scale: int) -> None:
    """Trains, evaluates and exports a network, or evaluates the interpolations; writes `result.json` at the end."""
    from tfmisr import data, degradations
    from tfmisr.evaluation import results, scoring
    from tfmisr.inference import upscalers
    from tfmisr.training import loop

    folder = _folder(arguments, name, scale).absolute()
    run = _run(arguments, name if name != CLASSICAL else "cnn5", scale, folder)
    source, degradation = data.load(run.dataset, run.data_dir, run.manual_dir), degradations.of(run.identity())
    evaluated, result = list(INTERPOLATIONS), {"steps": arguments.steps}
    if name != CLASSICAL:
        start = time.perf_counter()
        loop.train(run, source)
        result["seconds_of_training"] = round(time.perf_counter() - start)
        evaluated = ["bicubic", str(folder)]
    evaluated = [upscalers.load(each) for each in evaluated]
    scored = scoring.evaluate(evaluated, source, "test", scale, degradation, measures=MEASURES)
    metrics = results.write(scored, folder / "evaluation")
    result |= {"protocol": metrics["protocol"], "scores": metrics["models"]}
    if name != CLASSICAL:
        result["scores"] = metrics["models"][evaluated[-1].name]
        result |= exported(run, source, degradation)
    write_text(folder / "result.json", json.dumps(result, indent=2) + "\n")


def _run(arguments, name, scale, folder):
    from tfmisr import config

    return config.Config(
        dataset="chest_xray14/512",
        manual_dir=tuple(map(str, arguments.data)),
        data_dir=arguments.data_dir,
        model=name,
        scale=scale,
        steps=arguments.steps,
        auto_warmup=False,  # as docs/zoo.md was measured
        workdir=str(folder),
    )


def exported(run, source, degradation) -> dict:
    """Writes the `.tflite` files; returns their names, the loss of int8 on validation images, and multiply-adds."""
    from tfmisr.export import report
    from tfmisr.layers.collapsible import collapsed
    from tfmisr.models._cost import multiply_adds

    folder, scale = run.folder, run.scale
    network, files, reason = models.load(folder), {}, None
    for flavor in FLAVORS:
        try:
            files[flavor] = _converted(network, flavor, run, source, degradation).name
            _require_running(folder / files[flavor])
        except InputError as error:
            files.pop(flavor, None)
            reason = str(error)
    paths = [folder / name for name in files.values()]
    parity = report.parity(network, paths, source, "validation", scale, degradation, 6)["files"]
    collapsed_network = collapsed(network)
    return {
        "weights": collapsed_network.count_params(),
        "multiply_adds": multiply_adds(collapsed_network, SIDE // scale, SIDE // scale) * 1e6 / SIDE**2,
        "files": files,
        "without_int8": reason,
        "psnr_drop": {flavor: parity[name]["psnr_drop"] for flavor, name in files.items()},
    }


def _require_running(path) -> None:
    """Raises an `InputError` where LiteRT cannot run a file; a crash may end its process."""
    command = [sys.executable, "-m", "tfmisr.export.benchmark", "--memory", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise InputError((done.stderr.strip().splitlines() or [f"LiteRT ends with status {done.returncode}"])[-1])


def _converted(network, flavor, run, source, degradation) -> pathlib.Path:
    from tfmisr.edge import card
    from tfmisr.edge.files import atomic_write
    from tfmisr.export import calibration, cards, convert
    from tfmisr.inference import upscalers

    subgraph = convert.exported_subgraph(network, flavor)
    samples = calibration.choose(source, run.scale, degradation, 24, 64).samples if flavor == "int8" else None
    radius = upscalers.receptive_radius(subgraph.network)
    shared = cards.shared(run.folder, run.identity(), None, None)
    card_fields = cards.describe(run.folder.name, flavor, subgraph, run.scale, None, radius, shared, None, degradation)
    path = run.folder / f"{flavor}.tflite"
    with atomic_write(path) as temporary:
        temporary.write_bytes(card.attach(convert.to_tflite(subgraph, flavor, None, samples), card_fields))
    return path


def timed(arguments) -> dict:
    """Returns the time of a tile of each file, interleaved in one process; measured once for all files."""
    from tfmisr.export import benchmark

    jobs = [(job, _done(arguments, *job)) for job in _jobs(arguments) if job[0] != CLASSICAL]
    paths = [_folder(arguments, *job) / file for job, result in jobs if result for file in result["files"].values()]
    digest = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in paths)).hexdigest()
    cache = arguments.output / "benchmark.json"
    if cache.is_file():
        cached = json.loads(cache.read_text(encoding="utf-8"))
        if (cached["files_sha256"], cached["rounds"]) == (digest, arguments.rounds):
            return cached
    if not paths:
        raise InputError("no network is finished; the reasons are printed above")
    measured = benchmark.measure(paths, threads=(1,), rounds=arguments.rounds, seconds=3600)
    rows = {str(path.relative_to(arguments.output)): row for path, row in zip(paths, measured["models"], strict=True)}
    measured |= {"models": rows, "files_sha256": digest, "rounds": arguments.rounds}
    write_text(cache, json.dumps(measured, indent=2) + "\n")
    return measured


def table(arguments, scale: int, measured: dict) -> str:
    """Returns the table of one scale in Markdown: interpolations, then networks by multiply-adds."""
    from tfmisr.evaluation.table import caption

    classical = _done(arguments, CLASSICAL, scale)
    results = {name: _done(arguments, name, scale) for name in arguments.models}
    results = sorted(((k, v) for k, v in results.items() if v), key=lambda item: item[1]["multiply_adds"])
    milliseconds = {name: _milliseconds(arguments, name, scale, result, measured) for name, result in results}
    titles = ["model", "weights", "multiply-adds [G/MP]", "float32 [ms/MP]", "int8 [ms/MP]", "int8 loses [dB]"]
    titles += ["PSNR [dB]", "gain over bicubic [dB] (95 %)", "SSIM", "HaarPSI", "PSNR center [dB]"]
    rows = [[name, *["-"] * 5, *_scores(scores)] for name, scores in classical["scores"].items()]
    rows += [[name, *_costs(result, milliseconds[name], milliseconds.get("cnn5")), *_scores(result["scores"])]
             for name, result in results]  # fmt: skip
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *rows]
    notes = [caption(classical["protocol"], classical["scores"]), _method(arguments, measured)]
    notes += [f"{name} without int8: {result['without_int8']}." for name, result in results if result["without_int8"]]
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"## x{scale}\n\n{text}\n" + "\n\n".join(notes) + "\n"


def _milliseconds(arguments, name, scale, result, measured) -> dict:
    """Returns milliseconds per output megapixel by format, without the overhead of overlapping tiles."""
    folder, milliseconds = _folder(arguments, name, scale).relative_to(arguments.output), {}
    for flavor, file in result["files"].items():
        row = measured["models"][str(folder / file)]
        milliseconds[flavor] = row["window_ms"] * 1e6 / (row["window"] * scale) ** 2
    return milliseconds


def _costs(result, milliseconds, reference) -> list[str]:
    cells = [f"{result['weights']:,}", f"{result['multiply_adds'] / 1e9:.1f}"]
    for flavor in FLAVORS:
        ratio = f" ({milliseconds[flavor] / reference[flavor]:.2f}x)" if reference and flavor in milliseconds else ""
        cells.append(f"{milliseconds[flavor]:,.0f}{ratio}" if flavor in milliseconds else "-")
    drop = result["psnr_drop"].get("int8")
    return [*cells, "-" if drop is None else f"{drop:.2f}"]


def _scores(row) -> list[str]:
    gain = f"{row['psnr_gain']:+.2f} ({row['psnr_gain_low']:+.2f} to {row['psnr_gain_high']:+.2f})"
    cells = [f"{row['psnr']:.2f}", gain if row["psnr_gain"] else "-"]
    return [
        *cells,
        f"{row['ssim']:.4f}",
        f"{row['haarpsi']:.4f}",
        f"{row.get('psnr_center', row.get('psnr_centre')):.2f}",
    ]


def _method(arguments, measured) -> str:
    machine = measured["machine"]
    return (
        f"Every network: {arguments.steps:,} steps of 16 patches of 24x24 LR pixels of the train split, mean absolute "
        "error, Adam 0.001 with cosine decay, seed 0; a name with numbers is a smaller size than the paper's. "
        f"Weights and multiply-adds of the network as it is used, for a million pixels of output. Time: one thread on "
        f"{machine['processor']} with {machine['processors']} processors, load {machine['load']}; "
        f"{measured['method']}, windows of 128x128 LR pixels; in parentheses against cnn5. int8 loses: PSNR against "
        "Keras on 6 validation images, calibrated on 24 training crops of 64x64."
    )


if __name__ == "__main__":
    cli.run(main)
