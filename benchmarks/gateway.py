"""Speed of the gateway beside its parts, in one run: receiving, upscaling alone, end to end, one image alone.

    python benchmarks/gateway.py --images 40 --processes 2

The receiver, the node and the sender share the machine's cores. Rounds of `upscale` and of the gateway alternate, and
the table has their medians, so that another load of the machine meets both.
"""

import argparse
import pathlib
import re
import statistics
import tempfile
import time

from tfmisr.gateway import demonstration
from tfmisr.inference import batch

_ONLY = 'send = "original only"'


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=40, help="images of 512x512 pixels in a round (default: 40)")
    parser.add_argument("--processes", type=int, default=2, help="processes that upscale (default: 2)")
    parser.add_argument("--model", default="fast-x2", help="model (default: fast-x2)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: 3)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        sources = demonstration._make_phantoms(folder, arguments.images)
        rounds = [_round(folder / str(n), sources, arguments) for n in range(arguments.rounds)]
    for label in rounds[0]:
        values = [each[label] for each in rounds]
        print(f"{label:50}{statistics.median(values):10.2f}   {', '.join(f'{value:.2f}' for value in values)}")


def _round(folder: pathlib.Path, sources, arguments) -> dict[str, float]:
    folder.mkdir()
    measured = {"upscale alone, images/s": _upscale(folder, sources, arguments)}
    measured["receive, images/s"], _ = _gateway(folder / "receive", sources, arguments, results=False)
    received, end = _gateway(folder / "both", sources, arguments, results=True)
    measured["receive while upscaling, images/s"] = received
    measured["end to end, images/s"] = end
    measured["end to end / upscale alone"] = end / measured["upscale alone, images/s"]
    measured |= _single(folder / "one", sources, arguments)
    return measured


def _upscale(folder: pathlib.Path, sources, arguments) -> float:
    """Images/s of `tfmisr.upscale --processes`, after the processes have started and loaded the model."""
    upscaler = batch.BatchUpscaler(arguments.model, _scale(arguments))
    jobs = [(path, folder / f"{number}.dcm") for number, (path, _) in enumerate(sources.values())]
    times = []
    for _, _, error in batch.upscale_all(upscaler, jobs, arguments.processes):
        if error:
            raise SystemExit(error)
        times.append(time.monotonic())
    first = arguments.processes  # the first image of each process waits for its start
    return (len(times) - first) / (times[-1] - times[first - 1])


def _scale(arguments) -> int:
    return int(arguments.model[-1])


def _gateway(folder: pathlib.Path, sources, arguments, results: bool) -> tuple[float, float]:
    """Images/s until the last response, and until the last result is in the archive."""
    folder.mkdir()
    archive = demonstration.Archive()
    process, port = _start(folder, archive, arguments, results)
    try:
        _warm(sources, port, archive, arguments.processes, results)
        rest = dict(list(sources.items())[arguments.processes :])
        start = time.monotonic()
        acknowledged = demonstration._send(rest, port)
        received = len(acknowledged) / (time.monotonic() - start)
        demonstration._wait(archive, len(sources) * (1 + results))
        end = len(rest) / (max(entry[0] for entry in archive.arrived.values()) - start)
    finally:
        process.terminate()
        process.wait(15)
        archive.close()
    return received, end


def _start(folder: pathlib.Path, archive, arguments, results: bool):
    text = demonstration._CONFIG.format(port=archive.port, model=arguments.model)
    if not results:
        text = re.sub(r"send = .*\nmodel = .*", _ONLY, text)
    path = folder / "gateway.toml"
    path.write_text(f"[processing]\nprocesses = {arguments.processes}\n{text}", encoding="utf-8")
    return demonstration.start(path)


def _warm(sources, port: int, archive, count: int, results: bool) -> None:
    """Sends one image for each process and waits for it, so that models are loaded."""
    demonstration._send(dict(list(sources.items())[:count]), port)
    demonstration._wait(archive, count * (1 + results))


def _single(folder: pathlib.Path, sources, arguments) -> dict[str, float]:
    """Latency of images that come one at a time, from the C-STORE in to the result's C-STORE out."""
    folder.mkdir()
    archive = demonstration.Archive()
    process, port = _start(folder, archive, arguments, True)
    latencies, inference = [], []
    upscaler = batch.BatchUpscaler(arguments.model, _scale(arguments))
    try:
        for number, (uid, source) in enumerate(list(sources.items())[:12]):
            start = time.monotonic()
            demonstration._send({uid: source}, port)
            demonstration._wait(archive, 2 * number + 2)
            latencies.append(max(entry[0] for entry in archive.arrived.values()) - start)
            time.sleep(0.5)
            start = time.monotonic()
            upscaler(source[0], folder / f"{number}.dcm")
            inference.append(time.monotonic() - start)
    finally:
        process.terminate()
        process.wait(15)
        archive.close()
    pairs = list(zip(latencies, inference, strict=True))[2:]  # without those that load the model
    return {
        "one image alone: upscaling in this process, ms": 1000 * statistics.median(b for _, b in pairs),
        "one image alone: C-STORE in to C-STORE out, ms": 1000 * statistics.median(a for a, _ in pairs),
        "one image alone: more than upscaling, ms": 1000 * statistics.median(a - b for a, b in pairs),
    }


if __name__ == "__main__":
    main()
