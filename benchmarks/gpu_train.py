"""Trains presets within a number of minutes, and leaves at any time what a later call resumes from.

A preset whose network is fine-tuned from another is trained in the stages of its recipe. The steps of all stages are
the recipe's, times one factor: the one with which they end in time, from the measured time of their steps. So the
learning rate of each stage decays to its end within the minutes given. A copy of the run's last checkpoint lies in the
output folder, in parts of 15 MiB.
"""

import argparse
import csv
import dataclasses
import functools
import json
import pathlib
import shutil
import tempfile
import time
from collections.abc import Callable

import gpu_device
import gpu_state
import gpu_steps

from tfmisr import config, degradations
from tfmisr.config import Config
from tfmisr.data import pipeline
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import atomic_write

# Run to its stages: preset, fields that differ from it, initial weights (a shipped model, or the stage before).
_BEFORE = "the stage before"
STAGES = {
    "fast_x2": (("fast_x2", {}, None), ("finetune_int8", {"scale": 2}, _BEFORE)),
    "fast_x4": (("fast_x4", {}, None),),
    "best_x2": (("deep_x2", {}, "fast-x4"), ("best_x2", {}, _BEFORE)),
    "best_x4": (("deep_x4", {}, "fast-x4"), ("finetune_mse", {}, _BEFORE), ("best_x4", {}, _BEFORE)),
    "perceptual_x4": (("twelve_x4", {}, "fast-x4"), ("perceptual_x4", {}, _BEFORE)),
    "paper_cnn5": (("paper_cnn5", {}, None),),
    "paper_cnn": (("paper_cnn", {}, None),),
    "paper_gan": (("paper_gan", {}, None),),
}
_STEPS_IN_EPOCHS = 20000  # of a recipe in epochs: for its share of the time beside recipes in steps
_USED = 0.9  # of the minutes; the rest is for validations, checkpoints and slower moments
_SECONDS_BETWEEN_CHECKPOINTS = 20.0
_TIMED_SECONDS, _MOST_TIMED_STEPS = 1.0, 100_000


@dataclasses.dataclass(frozen=True)
class Stage:
    """One training run of a plan.

    Args:
        run: Key of `STAGES`.
        name: Preset of the stage.
        fields: Fields of its `Config`, without the working directory.
    """

    run: str
    name: str
    fields: dict

    def config(self, workdir: pathlib.Path) -> Config:
        """Returns the stage's configuration, with its directory in `workdir`."""
        return config.from_dict({**self.fields, "workdir": str(self.folder(workdir))}, self.name)

    def folder(self, workdir: pathlib.Path) -> pathlib.Path:
        """Returns the stage's directory in `workdir`."""
        return workdir / f"{self.run}-{self.name}"


def planned_steps(recipe: list[int], seconds: list[float], overhead: list[float], budget: float) -> list[int]:
    """Returns the steps of each stage: the recipe's, times the factor with which all of them take the budget.

    Args:
        recipe: Steps of each stage's recipe.
        seconds: Measured seconds of a step of each.
        overhead: Seconds that each stage takes before its first step, compilation above all.
        budget: Seconds for all stages.

    Raises:
        InputError: The budget does not suffice for ten steps of each.
    """
    left = _USED * budget - sum(overhead)
    factor = left / sum(n * s for n, s in zip(recipe, seconds, strict=True))
    steps = [int(factor * n) for n in recipe]
    if min(steps) < 10:
        raise InputError(
            f"expected time for at least 10 steps of each stage. Received: {budget:.0f} s, of which "
            f"{sum(overhead):.0f} s are compilation; more --minutes, a smaller --batch_size or fewer presets"
        )
    return steps


@functools.lru_cache(maxsize=1)
def source_of(folder: pathlib.Path):
    """Returns the images of a pixel cache."""
    from tfmisr import data

    return data.load(str(folder))


def sampler_of(source, run: Config) -> pipeline.PatchSampler:
    """Returns the sampler of a run's training patches."""
    sizes = (run.patch_size, run.batch_size, run.seed)
    degradation = degradations.of(run.identity())
    cache = pipeline.cache_of(source, "train")
    return pipeline.PatchSampler(cache, run.scale, degradation, *sizes, hard_patches=run.hard_patches)


def feeds(cache: pathlib.Path) -> Callable:
    """Returns a function from a run to a function that opens its pipeline's feed: a context manager of batches."""
    from tfmisr.training import feed

    def open_feed(run: Config):
        return feed.training(sampler_of(source_of(cache), run), 0, 10**9)

    return open_feed


def stages_of(arguments: argparse.Namespace) -> list[Stage]:
    """Returns the stages of the presets to train, with the steps of their recipes."""
    workdir = workdir_of(arguments)
    stages = []
    for run in arguments.train:
        before = None
        for name, changes, initial in STAGES[run]:
            fields = {**config.preset(name), **changes, "dataset": str(arguments.cache)}
            if fields.pop("epochs", None):
                fields["steps"] = _STEPS_IN_EPOCHS
            if initial:
                path = before.folder(workdir) if initial == _BEFORE else _initial(arguments, initial)
                fields["initial_weights"] = str(path)
            fields |= {"deterministic": False, "jit_compile": gpu_device.BACKEND == "jax"}
            for flag in ("batch_size", "learning_rate", "mixed_precision", "steps", "data_workers", "device_data"):
                if getattr(arguments, flag) is not None:
                    fields[flag] = getattr(arguments, flag)
            before = Stage(run, name, fields)
            stages.append(before)
    return stages


def workdir_of(arguments: argparse.Namespace) -> pathlib.Path:
    """Returns where the runs are kept: not in the output, which may hold few files."""
    return arguments.workdir or arguments.output.with_name(arguments.output.name + "-runs")


def _initial(arguments, name):
    if arguments.initial is None:
        return name
    path = arguments.initial / f"{name}.keras"
    if not path.is_file():
        raise InputError(f"expected the initial weights {path}, made by benchmarks/pack_gpu.py; check --initial")
    return path


def timed(stage: Stage, source) -> tuple[float, float]:
    """Returns the seconds of a step of a stage, fed and read as by its run, and those of the compilation."""
    from tfmisr.training import callbacks, loop

    with tempfile.TemporaryDirectory() as folder:
        fields = {**stage.fields, "initial_weights": None}
        config = dataclasses.replace(stage, fields=fields).config(pathlib.Path(folder))
        with gpu_steps.policy_of(config):
            run = loop.Run(config, source)
        each = run.device_data.callbacks if run.device_data else []
        with run.feed(0, _MOST_TIMED_STEPS) as batches:
            steps, compilation = gpu_steps.steps_for(run.model, batches, _TIMED_SECONDS, each)
            steps, reads = min(steps, _MOST_TIMED_STEPS // 4), not callbacks.steps_behind()
            return gpu_steps.seconds_per_step(run.model, batches, steps, reads, each), compilation


def plan(arguments: argparse.Namespace, figures: dict) -> list[Stage]:
    """Returns the stages with the steps that fit the minutes, or with `--steps`; adds measured times to `figures`."""
    stages, start = stages_of(arguments), time.perf_counter()
    measured = [timed(stage, source_of(arguments.cache)) for stage in stages]
    seconds, compilation = (list(part) for part in zip(*measured, strict=True))
    steps = [stage.fields["steps"] for stage in stages]
    if arguments.steps is None:
        budget = 60 * arguments.minutes - (time.perf_counter() - start)
        steps = planned_steps(steps, seconds, [c + 2 for c in compilation], budget)
    planned = []
    for stage, n, each in zip(stages, steps, seconds, strict=True):
        every = max(1, min(n, round(_SECONDS_BETWEEN_CHECKPOINTS / each)))
        warmup = {"warmup_steps": min(stage.fields["warmup_steps"], n // 20)} if "warmup_steps" in stage.fields else {}
        fields = {**stage.fields, "steps": n, "save_every": every, "validate_every": every, **warmup}
        planned.append(dataclasses.replace(stage, fields=fields))
    figures["plan"] = [
        {"run": s.run, "stage": s.name, "steps": s.fields["steps"], "step_ms": 1e3 * t, "compilation_s": c}
        for s, t, c in zip(planned, seconds, compilation, strict=True)
    ]
    return planned


def train(arguments: argparse.Namespace, figures: dict, write: Callable) -> None:
    """Trains the presets, or resumes them; see the module.

    Args:
        arguments: The command line of `gpu.py`.
        figures: Gets the plan, and the seconds and the last validation of each stage.
        write: Writes the figures.
    """
    from tfmisr.training import loop

    workdir = workdir_of(arguments)
    workdir.mkdir(parents=True, exist_ok=True)
    if arguments.resume:
        gpu_state.restore(arguments.resume, workdir)
    stages = _resumed(workdir, figures) or plan(arguments, figures)
    (workdir / "plan.json").write_text(
        json.dumps({"plan": figures["plan"], "stages": [dataclasses.asdict(s) for s in stages]}), encoding="utf-8"
    )
    print(json.dumps(figures["plan"], indent=1), flush=True)
    figures["stages"] = []
    for stage in stages:
        start = time.perf_counter()
        with gpu_state.copied(workdir, arguments.output):
            path = loop.train(stage.config(workdir), source_of(arguments.cache))
        rows = history(workdir, stages)
        _leave(arguments.output, stages, stage, path, rows)
        last = [row for row in rows if row["stage"] == stage.name and row["run"] == stage.run][-1]
        figures["stages"].append({"seconds": time.perf_counter() - start, **last})
        write()
    gpu_state.remove(arguments.output)


def _resumed(workdir: pathlib.Path, figures: dict) -> list[Stage]:
    path = workdir / "plan.json"
    if not path.is_file():
        return []
    stored = json.loads(path.read_text(encoding="utf-8"))
    figures["plan"], figures["resumed"] = stored["plan"], True
    return [Stage(**fields) for fields in stored["stages"]]


def history(workdir: pathlib.Path, stages: list[Stage]) -> list[dict]:
    """Returns the rows of the histories of all stages, each with its run and stage."""
    rows = []
    for stage in stages:
        path = stage.folder(workdir) / "history.csv"
        if path.is_file():
            with open(path, newline="", encoding="utf-8") as file:
                rows += [{"run": stage.run, "stage": stage.name, **row} for row in csv.DictReader(file)]
    return rows


def _leave(output, stages, stage, path, rows) -> None:
    """Copies the network and the histories to the output; of a run of stages, its last and the float one before."""
    final = [s for s in stages if s.run == stage.run][-1] is stage
    single = len({s.run for s in stages}) == 1
    name = ("model" if single else stage.run) if final else f"{stage.run}-before"
    with atomic_write(output / f"{name}.keras") as temporary:
        shutil.copyfile(path, temporary)
    names = list(dict.fromkeys(key for row in rows for key in row))
    with atomic_write(output / "history.csv") as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
