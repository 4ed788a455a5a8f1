"""The directory of a run: `config.json` and `environment.json`, which identify the run when it is resumed."""

import json
import pathlib
import platform
import typing
from collections.abc import Mapping

import tfmisr
from tfmisr import cli
from tfmisr.config import EARLIER_DEFAULTS, Config, initial_weights
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import write_text
from tfmisr.training import environment, processes

if typing.TYPE_CHECKING:
    from tfmisr.data.sources import Source


def initialize_run_directory(
    folder: pathlib.Path, config: Config, source: "Source", lr_source: "Source | None" = None
) -> None:
    """Writes `config.json` and `environment.json`, unless the directory holds this run already.

    Args:
        folder: The run's directory; it is made where it does not exist.
        config: The run.
        source: Its data, a `tfmisr.data.Source`.
        lr_source: Its low-resolution images, for unpaired training with a dataset of them.

    Raises:
        InputError: The directory belongs to a run of another configuration, or of other data.
    """
    if holds_run(folder, config, source, lr_source):
        return
    cli.require_writable(folder)
    described = _inputs(config, source, lr_source) | {
        "tfmisr": tfmisr.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        **environment.describe(),
        "processes": processes.count(),
    }
    write_text(folder / "environment.json", json.dumps(described, indent=2) + "\n")
    write_text(folder / "config.json", config.to_json())


def holds_run(folder: pathlib.Path, config: Config, source: "Source", lr_source: "Source | None" = None) -> bool:
    """Returns whether a directory holds a checkpoint or the model of this run; without either any run may use it.

    Args:
        folder: The directory.
        config: The run.
        source: Its data, a `tfmisr.data.Source`.
        lr_source: Its low-resolution images, for unpaired training with a dataset of them.

    Raises:
        InputError: It holds a run of another configuration, or of other data.
    """
    trained = any((folder / "checkpoints").glob("step-*.npz")) or (folder / "model.keras").exists()
    if trained and not (folder / "config.json").is_file():
        raise InputError(f"{folder} holds a run without its config.json; choose another --workdir")
    if trained:
        identity = json.loads(json.dumps(config.identity()))
        _compare(folder, "config.json", identity, {**json.loads(Config().to_json()), **EARLIER_DEFAULTS})
        _compare(folder, "environment.json", _inputs(config, source, lr_source), {})
    return trained


def record_resumption(folder: pathlib.Path, step: int) -> None:
    """Adds backend, versions, devices and processes to `environment.json`, where the run is resumed with others.

    They are no part of a run's identity, but another number of devices gives equal weights to rounding only.

    Args:
        folder: The run's directory.
        step: The step from which the run is resumed.
    """
    path = folder / "environment.json"
    described = json.loads(path.read_text(encoding="utf-8"))
    now = {**environment.describe(), "processes": processes.count()}
    resumed = described.get("resumed", [])
    last = {"processes": 1, **described, **(resumed[-1] if resumed else {})}
    if any(last.get(key) != value for key, value in now.items() if key in last):
        described["resumed"] = [*resumed, {"step": step, **now}]
        write_text(path, json.dumps(described, indent=2) + "\n")


def require_same_run(config: Config, source: "Source", lr_source: "Source | None", state: Mapping[str, object]) -> None:
    """Checks that all processes of a distributed run train the same on the same data; one process always does.

    Args:
        config: The run.
        source: Its data.
        lr_source: Its low-resolution images, or `None`.
        state: What else must be equal in all processes, by name.

    Raises:
        InputError: Something differs; every process raises it.
    """
    if processes.count() == 1:
        return
    versions = {"the version of tfmisr": tfmisr.__version__, "the version of Python": platform.python_version()}
    fields = {**config.identity(), **_inputs(config, source, lr_source)}
    processes.require_equal(
        {**versions, **fields, **state}, "give the same command, files and versions to all processes"
    )


def _inputs(config, source, lr_source):
    digest = initial_weights.digest(config.initial_weights) if config.initial_weights else None
    described = {"data": _data(source), "lr_data": _data(lr_source) if lr_source else None, "initial_weights": digest}
    if config.uncertainty:
        described["uncertainty"] = initial_weights.digest(config.uncertainty, "uncertainty")
    return described


def _data(source) -> dict:
    return {"dataset": source.name, "prepared": source.prepared, "images": source.counts}


def _compare(folder, name, expected, defaults):
    try:
        # A field that was added after the run was made has the value of what was done then.
        stored = {**defaults, **json.loads((folder / name).read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{folder / name} cannot be read ({error}); choose another --workdir") from error
    differing = [key for key in expected if stored.get(key) != expected[key]]
    if differing:
        key = differing[0]
        more = f" and {len(differing) - 1} more fields" if len(differing) > 1 else ""
        raise InputError(
            f"{folder} holds a run of another configuration: {key} is {stored.get(key)!r} there and "
            f"{expected[key]!r} here{more}; choose another --workdir or delete it"
        )
