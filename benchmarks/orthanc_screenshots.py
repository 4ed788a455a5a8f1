"""Screenshots of Orthanc with a series and the derived one that the gateway made of it.

    python benchmarks/orthanc_screenshots.py --output docs/images

Starts Orthanc, a gateway and a headless browser in a network namespace without any other interface, since Orthanc 1.10
listens on all addresses; sends the built-in phantom through the gateway; and ends them. It needs root, and of Debian
the packages orthanc, orthanc-webviewer, chromium, curl, iproute2 and util-linux.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse

import numpy as np
from PIL import Image

from tfmisr.datasets.chest_phantom import phantom
from tfmisr.gateway import demonstration, phantoms

HTTP, DICOM, SECONDS = 8042, 4242, 60.0
VIEWER = "/usr/share/orthanc/plugins/libOrthancWebViewer.so"
SIDE = 512
_WIDTH, _HEIGHT = 560, 480  # of a browser window


def main() -> int:
    """Makes the pictures; the exit status is 1 where something is missing or does not come."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("docs/images"), help="folder")
    parser.add_argument("--model", default="fast-x2", help="model (default: fast-x2)")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.inside:
        program = shutil.which("unshare") or _missing("unshare")
        command = [sys.executable, __file__, *sys.argv[1:], "--inside"]
        return subprocess.run([program, "-n", *command], check=False).returncode
    subprocess.run([shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin") or _missing("ip"), "link", "set", "lo", "up"],
                   check=True)  # fmt: skip
    arguments.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tfmisr-orthanc-") as name, _orthanc(pathlib.Path(name)):
        _send_phantoms(pathlib.Path(name), arguments.model)
        _take(pathlib.Path(name), arguments.output)
    return 0


def _missing(name: str) -> str:
    raise SystemExit(f"{name} is not installed")


@contextlib.contextmanager
def _orthanc(folder: pathlib.Path):
    """Runs an archive with its web viewer, which ends with the block."""
    binary = shutil.which("Orthanc", path="/usr/sbin:/usr/bin") or _missing("Orthanc")
    settings = {"StorageDirectory": str(folder / "archive"), "IndexDirectory": str(folder / "archive")}
    settings |= {"HttpPort": HTTP, "DicomPort": DICOM, "DicomAet": "ARCHIVE", "Plugins": [VIEWER]}
    settings |= {"RemoteAccessAllowed": False, "AuthenticationEnabled": False}
    settings |= {"WebViewer": {"CachePath": str(folder / "cache"), "ShortTermCacheSize": 16}}
    (folder / "orthanc.json").write_text(json.dumps(settings), encoding="utf-8")
    with open(folder / "orthanc.log", "wb") as log:
        process = subprocess.Popen([binary, str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        _wait(lambda: _get("system"), "Orthanc")
        yield
    finally:
        process.terminate()
        process.wait(20)


def _get(path: str):
    """Returns the answer of Orthanc's REST interface; `None` where there is none."""
    command = [shutil.which("curl") or _missing("curl"), "-sf", f"http://127.0.0.1:{HTTP}/{path}"]
    content = subprocess.run(command, check=False, capture_output=True).stdout
    return json.loads(content) if content else None


def _wait(condition, what: str) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"waited {SECONDS:.0f} s for {what}")
        time.sleep(0.2)


def _send_phantoms(folder: pathlib.Path, model: str) -> None:
    """Sends a phantom through a gateway, and waits until Orthanc has it and its derived image."""
    path = folder / "phantom.dcm"
    ds = phantoms.write(path, np.asarray(phantom.radiograph(1, SIDE)), 1)
    ds.SeriesDescription = "Chest PA"
    ds.WindowCenter, ds.WindowWidth = _window(ds.pixel_array)
    ds.save_as(path, enforce_file_format=True)
    config = folder / "gateway.toml"
    config.write_text(demonstration._CONFIG.format(port=DICOM, model=model), encoding="utf-8")
    process, port = demonstration.start(config)
    try:
        demonstration._send({str(ds.SOPInstanceUID): (path, "")}, port)
        _wait(lambda: len(_get("instances") or ()) == 2, "the derived image in Orthanc")
    finally:
        process.terminate()
        process.wait(15)


def _window(pixels: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(pixels, (1, 99))
    return round(float(low + high) / 2), round(float(high - low))


def _take(folder: pathlib.Path, output: pathlib.Path) -> None:
    """Takes the study page of Orthanc, and both series in its viewer."""
    series = {_rows(name): name for name in _get("series")}
    if sorted(series) != [SIDE, 2 * SIDE]:
        raise SystemExit(f"expected a series of {SIDE} rows and one of {2 * SIDE}, found {sorted(series)}")
    for rows, name in zip(sorted(series), ("source", "derived"), strict=True):
        view = _screenshot(folder, f"web-viewer/app/viewer.html?series={series[rows]}")
        _save(view, output / f"orthanc_{name}.png")
    (study,) = _get("studies")
    page = _screenshot(folder, f"app/explorer.html#study?uuid={urllib.parse.quote(study)}", (1000, 560))
    _save(page, output / "orthanc_study.png")


def _rows(series: str) -> int:
    (instance,) = _get(f"series/{series}")["Instances"]
    return int(_get(f"instances/{instance}/simplified-tags")["Rows"])


def _screenshot(folder: pathlib.Path, page: str, size: tuple[int, int] = (_WIDTH, _HEIGHT)) -> Image.Image:
    """Returns a page of Orthanc as a browser shows it."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or _missing("chromium")
    target = folder / "page.png"
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
    command += [f"--user-data-dir={folder / 'browser'}", f"--screenshot={target}", "--virtual-time-budget=15000"]
    command += [f"--window-size={size[0]},{size[1]}", f"http://127.0.0.1:{HTTP}/{page}"]
    environment = {**os.environ, "HOME": str(folder)}
    subprocess.run(command, check=True, capture_output=True, timeout=SECONDS * 2, env=environment)
    with Image.open(target) as image:
        return image.convert("RGB")


def _save(image: Image.Image, path: pathlib.Path) -> None:
    image.convert("P", palette=Image.Palette.ADAPTIVE, colors=128).save(path, optimize=True)
    print(f"{path}: {image.width}x{image.height}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    sys.exit(main())
