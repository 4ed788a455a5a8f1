"""Runs a sweep: the leading process or chief, the workers, and the files written at the end."""

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
from tfmisr.tuning.space import DeclaredSpace, ModelSpace
from tfmisr.tuning.sweep import OBJECTIVES, Sweep


def lead(
    sweep: Sweep, space: DeclaredSpace | ModelSpace, worker_timeout: float = 120, retry_failed: bool = False
) -> dict | None:
    """Runs a sweep on this machine, or as the chief of many, and writes its results.

    Args:
        sweep: The sweep.
        space: Its search space.
        worker_timeout: Seconds without a heartbeat after which a worker is considered lost.
        retry_failed: Run failed trials again.

    Returns:
        The best trial's result; `None` if no trial was completed.

    Raises:
        InputError: The folder holds another sweep, the data or the model cannot be used, or all trials failed.
    """
    _hide_gpus()
    cli.require_writable(sweep.folder)
    with _locked(sweep.folder):
        sweep.initialize_directory()
        (sweep.folder / "finished").unlink(missing_ok=True)
        check(sweep)
        _require_comparable(sweep.folder)
        oracle = oracles.make(sweep, space)
        if retry_failed:
            print(f"{counted(oracle.retry_failed(), 'trial')} run again")
        board = Board(sweep, oracle.expected)
        try:
            _search(sweep, space, oracle, board, worker_timeout)
        finally:
            board.close()
        best = _write_results(sweep)
        write_text(sweep.folder / "finished", str(sweep.max_trials))
    if oracle.hopeless:
        raise InputError(f"{oracle.hopeless}; correct the cause and add --retry_failed")
    return best


def _search(sweep, space, oracle, board, worker_timeout):
    def update(*_):
        before = len(board.results)
        board.gather()
        if len(board.results) > before:
            _write_table(sweep, board.results)

    if service.role() == "chief":
        service.serve(oracle, worker_timeout, update)
        update()
        return
    trials = runner.Runner(sweep, space, oracle.get_trial, board.running)
    worker.search(oracle, "tuner0", trials.run, update)


def work(
    sweep: Sweep,
    space: DeclaredSpace | ModelSpace,
    worker_timeout: float,
    chief_timeout: float,
    restart: bool = False,
) -> None:
    """Runs trials for a chief until it has none.

    Args:
        sweep: The same sweep as the chief's.
        space: Its search space.
        worker_timeout: Seconds without a heartbeat after which the chief considers this worker lost.
        chief_timeout: Seconds to wait for the chief.
        restart: Wait for the chief even if the sweep was finished before.

    Raises:
        InputError: No chief, or the chief of another sweep.
    """
    _hide_gpus()
    finished = sweep.folder / "finished"
    name = os.environ["KERASTUNER_TUNER_ID"]
    client = service.Client(
        lambda: not restart and finished.is_file() and finished.read_text(encoding="utf-8") == str(sweep.max_trials),
        chief_timeout,
    )
    trials = runner.Runner(sweep, space, client.get_trial, every=min(10.0, worker_timeout / 4))
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


def _hide_gpus() -> None:
    """Keeps this process from allocating GPU memory that its trials need."""
    tf.config.set_visible_devices([], "GPU")


def check(sweep: Sweep) -> None:
    """Prepares the data and builds the network in a separate process, so that no trial fails because of them.

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
    """Raises an `InputError` if an earlier version scored trials on blank crops too, which are left out now."""
    for result in results.read_all(folder):
        if not math.isfinite(result.get("bicubic_psnr") or 0.0):
            raise InputError(
                f"trial {result['trial']} in {folder} was scored by an earlier version, on blank images too; such "
                "scores and today's cannot be compared. Choose another --workdir"
            )


@contextlib.contextmanager
def _locked(folder):
    """Locks the sweep against a second leading process; without effect on Windows."""
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


def _write_table(sweep, trials) -> None:
    write_text(sweep.folder / "study.csv", results.table(sorted(trials, key=lambda r: int(r["trial"]))))


def _write_results(sweep) -> dict | None:
    """Writes `study.csv`, `best.json` and the report, and returns the best trial's result."""
    trials = results.read_all(sweep.folder)
    _write_table(sweep, trials)
    best = results.best(trials, sweep.objective, OBJECTIVES[sweep.objective])
    if best:
        path = results.home(sweep.folder, best["trial"]) / "trial.json"
        with results.damage_named(path, "delete the trial's folder: it is then run again"):
            best_config = {**json.loads(path.read_text(encoding="utf-8"))["config"], "workdir": None}
        write_text(sweep.folder / "best.json", json.dumps(best_config, indent=2) + "\n")
        parameter_study_report.write(sweep.folder / "study.csv", sweep.objective, OBJECTIVES[sweep.objective])
    return best


def train_best(sweep: Sweep, steps: int) -> pathlib.Path:
    """Trains and evaluates the best trial's configuration for `steps` steps, and returns the run's directory.

    Raises:
        InputError: The command failed.
    """
    folder = sweep.folder / f"best-{steps}"
    command = ["tfmisr.fit", "--config", sweep.folder / "best.json", "--steps", steps, "--workdir", folder]
    _command(command)
    return folder


def export(sweep: Sweep, folder: pathlib.Path) -> None:
    """Exports a run to `exported` in the sweep's folder.

    Raises:
        InputError: The command failed.
    """
    _command(["tfmisr.export", folder, "--output", sweep.folder / "exported", "--name", "best"])


def _command(arguments):
    if status := processes.finish(processes.start([*processes.BOUND, *map(str, arguments)])):
        raise InputError(f"python -m {arguments[0]} ended with status {status}; see above")
