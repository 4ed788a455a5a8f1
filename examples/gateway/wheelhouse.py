#!/usr/bin/env python3
"""Collects the wheels of the gateway, so that a device without a network can install them: see install.sh.

    python examples/gateway/wheelhouse.py dist/tfmisr-*.whl --output wheelhouse

makes `wheelhouse/x86_64` and `wheelhouse/aarch64` for Linux with glibc 2.28 or later and the running version of Python:
pip takes environment markers from the Python that runs it, so run the version that the device has. Packages without a
wheel for a machine are printed, and the exit status is then 1. Needs Python and pip alone.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

MACHINES = ("x86_64", "aarch64")
TAGS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")  # pip takes no older tag by itself
EXTRAS = "dicom,gateway,sign"


def _pip(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _target(machine: str) -> list[str]:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    platforms = [word for tag in TAGS for word in ("--platform", f"{tag}_{machine}")]
    return [*platforms, "--python-version", version, "--implementation", "cp", "--only-binary=:all:"]


def resolve(wheel: pathlib.Path, extras: str) -> list[str]:
    """Returns `name==version` of all that a wheel with its extras needs, as pip resolves it for the running Python."""
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.json"
        done = _pip(
            "install", "--dry-run", "--ignore-installed", "--quiet", "--only-binary=:all:",
            "--report", str(report), f"{wheel}[{extras}]",
        )  # fmt: skip
        if done.returncode:
            sys.exit(f"pip found no set of packages:\n{done.stderr.strip()}")
        found = [item["metadata"] for item in json.loads(report.read_text(encoding="utf-8"))["install"]]
    return sorted(f"{each['name']}=={each['version']}" for each in found if each["name"] != "tfmisr")


def collect(pins: list[str], machine: str, folder: pathlib.Path) -> list[str]:
    """Downloads wheels for a machine into a folder, and returns those of `pins` that have none."""
    command = ["download", "--quiet", "--no-deps", *_target(machine), "--dest", str(folder)]
    if _pip(*command, *pins).returncode == 0:
        return []
    failures = {pin: done.stderr for pin in pins if (done := _pip(*command, pin)).returncode}
    for pin, error in failures.items():  # no wheel, or no network: pip says which
        print(f"{machine}: {pin}: {error.strip().splitlines()[-1]}", file=sys.stderr)
    return list(failures)


def main() -> int:
    """Collects the wheels; 1 if some are missing."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("wheel", type=pathlib.Path, help="the wheel of tfmisr, from `pip wheel --no-deps .`")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="folder; gets one folder for each machine")
    parser.add_argument("--extras", default=EXTRAS, help=f"extras of tfmisr (default: {EXTRAS})")
    parser.add_argument("--machines", nargs="+", default=MACHINES, choices=MACHINES, help="machines (default: both)")
    arguments = parser.parse_args()
    if not arguments.wheel.is_file():
        parser.error(f"expected a wheel at {arguments.wheel}, found none")
    pins, missing = resolve(arguments.wheel, arguments.extras), 0
    for machine in arguments.machines:
        folder = arguments.output / machine
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(arguments.wheel, folder)
        lacking = collect(pins, machine, folder)
        size = sum(path.stat().st_size for path in folder.glob("*.whl")) / 1e6
        print(f"{machine}: {len(list(folder.glob('*.whl')))} wheels, {size:.0f} MB")
        print(f"{machine}: without a wheel: {', '.join(lacking) or 'none'}")
        missing += len(lacking)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
