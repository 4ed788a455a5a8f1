"""`Sweep`: everything that the trials of a search depend on, stored in `sweep.json` so that it can be resumed."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Container

from tfmisr import cli
from tfmisr.config import EARLIER_DEFAULTS, Config, compatibility, initial_weights
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import write_text

TUNERS = ("random", "grid", "bayesian", "hyperband")
# Columns of history.csv, and whether higher or lower is better.
OBJECTIVES = {"val_psnr": "max", "val_loss": "min"}
# Scores that a report can be about; val_ssim is measured at the end of a run.
SCORES = {**OBJECTIVES, "val_ssim": "max"}


@dataclasses.dataclass(frozen=True)
class Sweep:
    """One hyperparameter search.

    Args:
        base: Configuration of all trials, except for the searched values.
        tuner: Search algorithm, one of `TUNERS`.
        objective: One of `OBJECTIVES`.
        space: Search space, as of `tfmisr.tuning.space.DeclaredSpace`; `None`: the model's.
        max_trials: Maximum number of trials; `None`: all of a grid or of Hyperband.
        max_params: Maximum number of parameters of a network.
        max_ms: Maximum latency of one tile in milliseconds.
        tile: Side of that tile in low-resolution pixels.
        min_steps: Steps of Hyperband's shortest trials.
        factor: Reduction factor of Hyperband: one of `factor` trials continues, with `factor` times the steps.
        trial_hours: Time limit of a trial in hours.

    Raises:
        InputError: A value is out of range, or a value that the tuner needs is missing.
    """

    base: Config
    tuner: str = "random"
    objective: str = "val_psnr"
    space: dict | None = None
    max_trials: int | None = None
    max_params: int | None = None
    max_ms: float | None = None
    tile: int = 128
    min_steps: int | None = None
    factor: int = 3
    trial_hours: float | None = None

    def __post_init__(self):
        for name in ("max_trials", "max_params", "max_ms", "min_steps", "trial_hours"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name} must be above 0. Received: {value}")
        if not 16 <= self.tile <= 1024:
            raise InputError(f"tile must be from 16 to 1024. Received: {self.tile}")
        if self.factor < 2:
            raise InputError(f"factor must be at least 2. Received: {self.factor}")
        if self.space and "seed" in self.space and self.tuner != "grid":
            raise InputError(f"seed can be searched only by --tuner grid. Received: --tuner {self.tuner}")
        if self.tuner in ("random", "bayesian") and self.max_trials is None:
            raise InputError(f"--tuner {self.tuner} needs --max_trials")
        if self.tuner == "hyperband":
            self._check_hyperband()

    def _check_hyperband(self):
        if self.base.steps is None:
            raise InputError("--tuner hyperband needs --steps, those of its longest trials")
        if self.base.steps < self.factor * self.shortest:
            raise InputError(
                f"--tuner hyperband needs --steps of at least {self.factor} times min_steps. "
                f"Received: {self.base.steps} and {self.shortest}"
            )

    @property
    def shortest(self) -> int:
        """Steps of Hyperband's shortest trials: by default three reductions by `factor` below the longest."""
        return self.min_steps or max(self.base.steps // self.factor**3, 1)

    @property
    def epochs(self) -> int:
        """Epochs of Hyperband's longest trials, of `shortest` steps each."""
        return self.base.steps // self.shortest

    def steps_of(self, epochs: int) -> int:
        """Returns the steps of a Hyperband trial of `epochs` epochs; the longest trials are complete runs."""
        return self.base.steps if epochs >= self.epochs else epochs * self.shortest

    @property
    def seed(self) -> int:
        """Seed of the oracle; Keras Tuner treats 0 as unseeded."""
        return self.base.seed + 1

    def identity(self) -> dict:
        """Returns what the results of trials depend on: all fields except paths and limits of the search."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        identity = {**fields, "max_trials": None, "trial_hours": None, "base": self.base.identity()}
        if self.base.initial_weights:
            identity["initial_weights"] = initial_weights.digest(self.base.initial_weights)
        return identity

    @property
    def folder(self) -> pathlib.Path:
        """The sweep's folder: `workdir`, or `runs/tune-<dataset>-<model>-x<scale>-<tuner>-<key>`."""
        if self.base.workdir:
            return pathlib.Path(self.base.workdir).expanduser()
        identity = self.identity()
        # As in the key of a run, fields that were added later are left out, so that folders keep their names.
        fields = identity["base"].items()
        identity["base"] = {k: v for k, v in fields if k not in EARLIER_DEFAULTS or v != EARLIER_DEFAULTS[k]}
        key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
        return pathlib.Path("runs") / f"tune-{self.base.folder.name.rpartition('-')[0]}-{self.tuner}-{key}"

    def resumed(self, given: Container[str]) -> "Sweep":
        """Returns the sweep, with the defaults of the earlier version that started it, if one did.

        Args:
            given: Names of the fields of runs that the user set.
        """
        base = compatibility.with_earlier_defaults(self.base, given, EARLIER_DEFAULTS)
        earlier = dataclasses.replace(self, base=base)
        started = (earlier.folder / "oracle" / "oracle.json").is_file()
        predates = compatibility.predates(earlier.folder / "sweep.json", EARLIER_DEFAULTS, "base")
        return earlier if started and predates else self

    def initialize_directory(self) -> None:
        """Writes `sweep.json`, unless the folder holds this sweep already.

        Raises:
            InputError: It holds another sweep, or a run.
        """
        path = self.folder / "sweep.json"
        identity = json.loads(json.dumps(self.identity()))
        if (self.folder / "config.json").is_file():
            raise InputError(f"{self.folder} holds a run; choose another --workdir for the sweep")
        # A sweep that could not start, for example because of a missing dataset, leaves the folder free.
        if (self.folder / "oracle" / "oracle.json").is_file():
            self._compare(_read(path))
            return
        cli.require_writable(self.folder)
        write_text(path, json.dumps(identity, indent=2) + "\n")

    def join(self) -> None:
        """Checks that the chief runs the same sweep.

        Raises:
            InputError: It runs another one, or its folder is not shared.
        """
        if not (self.folder / "sweep.json").is_file():
            raise InputError(f"expected the chief's sweep.json in {self.folder}, found none; share that folder")
        self._compare(_read(self.folder / "sweep.json"))

    def _compare(self, stored):
        expected = json.loads(json.dumps(self.identity()))
        here = {"initial_weights": None, **expected, **expected["base"]}
        # A field that was added after the sweep was made has the value of what was done then.
        there = {**json.loads(json.dumps(Config().identity())), **EARLIER_DEFAULTS, **stored, **stored["base"]}
        differing = [key for key in here if key != "base" and there.get(key) != here[key]]
        if differing:
            key = differing[0]
            more = f" and {len(differing) - 1} more" if len(differing) > 1 else ""
            raise InputError(
                f"{self.folder} holds another sweep: {key} is {there.get(key)!r} there and {here[key]!r} here{more}; "
                "choose another --workdir or delete it"
            )


def _read(path) -> dict:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return {**stored, "base": dict(stored["base"])}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} cannot be read ({error}); choose another --workdir") from error
