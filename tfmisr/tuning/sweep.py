"""What a sweep is: everything that its trials depend on, kept in `sweep.json` so that the same command goes on."""

import dataclasses
import hashlib
import json
import pathlib

from tfmisr import cli
from tfmisr.config import compatibility
from tfmisr.config.fields import EARLIER_DEFAULTS, Config
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import write_text

TUNERS = ("random", "grid", "bayesian", "hyperband")
# Each is a column of history.csv, and better upwards or downwards.
OBJECTIVES = {"val_psnr": "max", "val_loss": "min"}
# What a report can be about: measured too where a run comes to its end.
SCORES = {**OBJECTIVES, "val_ssim": "max"}


@dataclasses.dataclass(frozen=True)
class Sweep:
    """One search.

    Args:
        base: The run that every trial starts from.
        tuner: Who proposes the trials, one of `TUNERS`.
        objective: One of `OBJECTIVES`.
        space: What is searched, as `tfmisr.tuning.space.Declared` takes it; `None`: the model's own.
        max_trials: Trials at most; `None`: all of a grid, all of hyperband's.
        max_params: Parameters of a network at most.
        max_ms: Milliseconds of one window at most.
        tile: Side of that window in low-resolution pixels.
        min_steps: Steps of hyperband's shortest trials.
        factor: Of how many hyperband's trials one goes on, with as many times the steps.
        trial_hours: A trial that takes longer has failed.
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
            raise InputError(f"seed can be searched by --tuner grid alone. Received: --tuner {self.tuner}")
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
        """Steps of hyperband's shortest trials: by default those that are tripled three times."""
        return self.min_steps or max(self.base.steps // self.factor**3, 1)

    @property
    def epochs(self) -> int:
        """Hyperband's epochs, of `shortest` steps each, of its longest trials."""
        return self.base.steps // self.shortest

    def steps_of(self, epochs: int) -> int:
        """Returns the steps of a trial of so many of hyperband's epochs; the longest go to the end of the run."""
        return self.base.steps if epochs >= self.epochs else epochs * self.shortest

    @property
    def seed(self) -> int:
        """Seed of the proposals; Keras Tuner takes 0 for none."""
        return self.base.seed + 1

    def identity(self) -> dict:
        """Returns what the trials depend on: neither where things lie nor how many are made."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        found = {**fields, "max_trials": None, "trial_hours": None, "base": self.base.identity()}
        if self.base.initial_weights:
            from tfmisr.config import initial_weights

            found["initial_weights"] = initial_weights.digest(self.base.initial_weights)
        return found

    @property
    def folder(self) -> pathlib.Path:
        """The sweep's folder."""
        if self.base.workdir:
            return pathlib.Path(self.base.workdir).expanduser()
        found = self.identity()
        # As in a run's key: folders keep their names.
        found["base"] = {k: v for k, v in found["base"].items() if k not in EARLIER_DEFAULTS or v != EARLIER_DEFAULTS[k]}
        key = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:8]
        return pathlib.Path("runs") / f"tune-{self.base.folder.name.rpartition('-')[0]}-{self.tuner}-{key}"

    def as_begun(self, given) -> "Sweep":
        """Returns the sweep, with the fields of runs that were not given as an earlier version began it."""
        then = dataclasses.replace(self, base=compatibility.with_earlier_defaults(self.base, given, EARLIER_DEFAULTS))
        has_begun = (then.folder / "oracle" / "oracle.json").is_file()
        return then if has_begun and compatibility.predates(then.folder / "sweep.json", EARLIER_DEFAULTS, "base") else self

    def claim(self) -> None:
        """Makes the folder this sweep's, or finds that it is already.

        Raises:
            InputError: It belongs to another sweep.
        """
        path = self.folder / "sweep.json"
        identity = json.loads(json.dumps(self.identity()))
        if (self.folder / "config.json").is_file():
            raise InputError(f"{self.folder} holds a run; choose another --workdir for the sweep")
        # A sweep that could not begin, as with a dataset that there is not, leaves the folder free.
        if (self.folder / "oracle" / "oracle.json").is_file():
            self._compare(_read(path))
            return
        cli.require_writable(self.folder)
        write_text(path, json.dumps(identity, indent=2) + "\n")

    def join(self) -> None:
        """Checks that the chief's sweep is this one.

        Raises:
            InputError: It is another one, or its folder is not here.
        """
        if not (self.folder / "sweep.json").is_file():
            raise InputError(f"expected the chief's sweep.json in {self.folder}, found none; share that folder")
        self._compare(_read(self.folder / "sweep.json"))

    def _compare(self, found):
        expected = json.loads(json.dumps(self.identity()))
        here = {"initial_weights": None, **expected, **expected["base"]}
        # A field that came after the sweep was made has in it what was done then.
        there = {**json.loads(json.dumps(Config().identity())), **EARLIER_DEFAULTS, **found, **found["base"]}
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
        found = json.loads(path.read_text(encoding="utf-8"))
        return {**found, "base": dict(found["base"])}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} cannot be read ({error}); choose another --workdir") from error
