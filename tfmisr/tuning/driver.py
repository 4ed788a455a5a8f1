"""A sweep from its first process to its outcome: who leads it, who works for it, and what is left at its end."""

import contextlib
import dataclasses
import json
import math
import os
import pathlib
import shutil

import tensorflow as tf

from tfmisr import cli
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import write_text
from tfmisr.edge.text import counted
from tfmisr.tuning import oracles, parameter_study_report, processes, results, runner, service, worker
from tfmisr.tuning.board import Board
from tfmisr.tuning.sweep import OBJECTIVES


def lead(sweep, space, patience: float = 120, retry_failed: bool = False) -> dict | None:
    """Runs a sweep on this machine, or as the chief of many, and writes its outcome.

    Args:
        sweep: `tfmisr.tuning.sweep.Sweep`.
        space: What it searches.
        patience: Seconds of silence after which a worker is taken for lost.
        retry_failed: Run the trials again that failed.

    Returns:
        The best trial's result, `None` where no trial was completed.

    Raises:
        InputError: The folder is another sweep's, the data or the model cannot be used, or every trial failed.
    """
    _leave_gpus()
    cli.require_writable(sweep.folder)
    with _alone(sweep.folder):
        sweep.claim()
        (sweep.folder / "finished").unlink(missing_ok=True)
        check(sweep)
        _require_comparable(sweep.folder)
        oracle = oracles.make(sweep, space)
        if retry_failed:
            print(f"{counted(oracle.retry_failed(), 'trial')} run again")
        board = Board(sweep, oracle.expected)
        try:
            _search(sweep, space, oracle, board, patience)
        finally:
            board.close()
        best = _outcome(sweep)
        write_text(sweep.folder / "finished", str(sweep.max_trials))
    if oracle.hopeless:
        raise InputError(f"{oracle.hopeless}; mend it and add --retry_failed")
    return best


def _search(sweep, space, oracle, board, patience):
    def tell(*_):
        before = len(board.found)
        board.gather()
        if len(board.found) > before:
            _write_table(sweep, board.found)

    if service.role() == "chief":
        service.serve(oracle, patience, tell)
        tell()
        return
    trials = runner.Runner(sweep, space, oracle.get_trial, board.running)
    worker.search(oracle, "tuner0", trials.run, tell)


def work(sweep, space, patience: float, chief_patience: float, anew: bool = False) -> None:
    """Runs trials for a chief until it has none.

    Args:
        sweep: The sweep, as the chief has it.
        space: What it searches.
        patience: Seconds of silence after which the chief takes this worker for lost.
        chief_patience: Seconds to wait for the chief.
        anew: The sweep begins again, even if it was at its end.

    Raises:
        InputError: No chief, or the chief of another sweep.
    """
    _leave_gpus()
    finished = sweep.folder / "finished"
    name = os.environ["KERASTUNER_TUNER_ID"]
    client = service.Client(
        lambda: not anew and finished.is_file() and finished.read_text(encoding="utf-8") == str(sweep.max_trials),
        chief_patience,
    )
    trials = runner.Runner(sweep, space, client.get_trial, every=min(10.0, patience / 4))
    if not client.wait():
        return
    sweep.join()
    check(sweep)

    def run(trial_id):
        print(f"trial {trial_id}", flush=True)
        return trials.run(trial_id)

    def ended(result):
        print(f"trial {result['trial']} {result['status']} {result['reason'] or ''}", flush=True)

    worker.search(client, name, run, ended)


def _leave_gpus() -> None:
    """Keeps this process from taking memory of a GPU that its trials need."""
    tf.config.set_visible_devices([], "GPU")


def check(sweep) -> None:
    """Prepares the data and builds the network in a process of its own, so that no trial fails for them.

    Raises:
        InputError: One of them cannot be used.
    """
    home = sweep.folder / "check" / str(os.getpid())
    home.mkdir(parents=True, exist_ok=True)
    print(f"preparing data and network, see {home / 'log.txt'}", flush=True)
    try:
        write_text(home / "trial.json", json.dumps({"config": dataclasses.asdict(sweep.base)}))
        with open(home / "log.txt", "wb") as log:
            status = processes.finish(processes.start([*runner.COMMAND, "--check", str(home)], stderr=log))
        if status:
            raise InputError(f"no trial of this sweep could run: {processes.reason(status, home / 'log.txt')}")
    finally:
        shutil.rmtree(home)


def _require_comparable(folder) -> None:
    """Raises an `InputError` where trials were scored on blank crops too, as before these were left out."""
    for result in results.read_all(folder):
        if not math.isfinite(result.get("bicubic_psnr") or 0.0):
            raise InputError(
                f"trial {result['trial']} in {folder} was scored by an earlier version, on blank images too; such "
                "scores and today's cannot be compared. Choose another --workdir"
            )


@contextlib.contextmanager
def _alone(folder):
    """Keeps a second process from leading the same sweep, where the system can."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with open(folder / "lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"another process already leads the sweep in {folder}; end it, or wait") from error
        yield


def _write_table(sweep, found) -> None:
    write_text(sweep.folder / "study.csv", results.table(sorted(found, key=lambda r: int(r["trial"]))))


def _outcome(sweep) -> dict | None:
    """Writes `study.csv`, `best.json` and the report, and returns the best trial's result."""
    found = results.read_all(sweep.folder)
    _write_table(sweep, found)
    best = results.best(found, sweep.objective, OBJECTIVES[sweep.objective])
    if best:
        asked = json.loads((results.home(sweep.folder, best["trial"]) / "trial.json").read_text(encoding="utf-8"))
        write_text(sweep.folder / "best.json", json.dumps({**asked["config"], "workdir": None}, indent=2) + "\n")
        parameter_study_report.write(sweep.folder / "study.csv", sweep.objective, OBJECTIVES[sweep.objective])
    return best


def train_best(sweep, steps: int) -> pathlib.Path:
    """Trains the best trial's run for so many steps, judges it, and returns its folder."""
    folder = sweep.folder / f"best-{steps}"
    command = ["tfmisr.fit", "--config", sweep.folder / "best.json", "--steps", steps, "--workdir", folder]
    _command(command)
    return folder


def export(sweep, folder: pathlib.Path) -> None:
    """Exports a run into `exported` in the sweep's folder."""
    _command(["tfmisr.export", folder, "--output", sweep.folder / "exported", "--name", "best"])


def _command(arguments):
    if status := processes.finish(processes.start([*processes.BOUND, *map(str, arguments)])):
        raise InputError(f"python -m {arguments[0]} ended with status {status}; see above")
