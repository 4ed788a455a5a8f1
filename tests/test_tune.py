"""The tune command: what it searches, what each trial is, and how it tells what became of it."""

import dataclasses
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import textwrap
import time
import zipfile

import pytest

from tfmisr import config, models, tune
from tfmisr.config import Config
from tfmisr.edge.errors import InputError
from tfmisr.tuning import results, space, studies
from tfmisr.tuning.sweep import Sweep

BASE = Config(steps=10)


class Proposed:
    """Keras Tuner's `HyperParameters`, as far as a space uses it: the value of each name is given."""

    def __init__(self, **values):
        self.values, self.asked = values, {}

    def Choice(self, name, values, **kwargs):  # noqa: N802
        self.asked[name] = values
        return self.values.get(name, values[0])

    def Int(self, name, low, high, **kwargs):  # noqa: N802
        self.asked[name] = (low, high, kwargs)
        return self.values.get(name, low)

    Float = Int


def test_model_name_carries_arguments_of_build():
    assert models.split("cnn5/baseline,num_filters=8") == ("cnn5", "baseline", {"num_filters": 8})
    assert models.split("cnn5") == ("cnn5", "", {})
    assert models.spell("cnn5", {"num_layers": 3, "num_filters": 8}) == "cnn5/num_filters=8,num_layers=3"
    assert models.spell("cnn5/baseline,num_filters=8", {"num_filters": 4}) == "cnn5/baseline,num_filters=4"
    assert models.split(models.spell("x", {"a": True, "b": 1e-5, "c": "word"}))[2] == {
        "a": True,
        "b": 1e-5,
        "c": "word",
    }


def test_network_is_built_as_its_name_says():
    named = models.create("cnn5/num_filters=8,num_layers=3", 2)
    given = models.create("cnn5", 2, num_filters=8, num_layers=3)
    assert named.count_params() == given.count_params() < models.create("cnn5", 2).count_params()


@pytest.mark.parametrize(
    "name,message",
    [
        ("cnn5/num_filter=8", "argument of cnn5 must be one of num_filters, num_layers"),
        ("cnn5/num_filters=8.5", "argument num_filters of cnn5 must be int. Received: 8.5"),
        ("cnn5/num_filters=true", "must be int. Received: True"),
        ("cnn5/num_layers=-1", "argument num_layers of cnn5 must be at least 1. Received: -1"),
        ("edsr/num_blocks=0", "argument num_blocks of edsr must be at least 1. Received: 0"),
        ("edsr/residual_scaling=nan", "argument residual_scaling of edsr must be finite. Received: nan"),
        ("edsr/residual_scaling=1e999", "argument residual_scaling of edsr must be finite. Received: inf"),
        ("cnn5/scale=2", "argument of cnn5 must be one of"),
        ("cnn5/num_filters=8,baseline", "name/variant or name/argument=value,..."),
        ("cnn5/num_filters=", "name/variant or name/argument=value,..."),
        ("cnn5/num_filters=1,num_filters=2", "name/variant or name/argument=value,..."),
        ("cnn6/num_filters=8", "did you mean cnn5?"),
    ],
)
def test_wrong_argument_of_build_is_told_without_building(name, message):
    with pytest.raises(InputError) as error:
        Config(model=name)
    assert message in str(error.value)


def test_network_that_keras_cannot_build_is_the_users_mistake():
    # A quarter of two filters is set aside.
    with pytest.raises(InputError, match="the model imdn/num_filters=2 cannot be built"):
        models.create("imdn/num_filters=2", 2)


def test_declared_space_makes_runs_of_fields_and_arguments():
    described = {
        "num_layers": {"min": 3, "max": 7, "step": 2},
        "learning_rate": {"min": 1e-4, "max": 1e-2, "log": True},
        "loss": ["mae", "mse"],
    }
    declared = space.Declared(described, BASE, "x")
    hp = Proposed(num_layers=5, learning_rate=0.003)
    found = declared.configured(hp)
    assert found == dataclasses.replace(BASE, model="cnn5/num_layers=5", learning_rate=0.003, loss="mae")
    assert hp.asked["num_layers"] == (3, 7, {"step": 2})
    assert hp.asked["learning_rate"] == (1e-4, 1e-2, {"step": None, "sampling": "log"})


def test_whole_number_among_fractions_is_a_fraction():
    declared = space.Declared({"learning_rate": [1, 0.1], "num_filters": [8]}, BASE, "x")
    assert declared.parameters[0].choices == (1.0, 0.1)
    assert type(declared.parameters[0].choices[0]) is float and declared.parameters[1].choices == (8,)


@pytest.mark.parametrize(
    "described,message",
    [
        ({}, "must name at least one thing"),
        ({"num_filter": [8]}, "did you mean num_filters?"),
        ({"scale": [2, 4]}, "what x searches must be one of"),
        ({"loss": ["mae", "l2"]}, "l2"),
        ({"loss": []}, "must have choices"),
        ({"loss": ["mae", "mae"]}, "each once"),
        ({"loss": ["mae", 3]}, "choices of one kind"),
        ({"loss": [["mae"], ["mse"]]}, "choices of one kind"),
        ({"loss": [{"mae": 1}]}, "choices of one kind"),
        ({"learning_rate": [0.1, -1.0]}, "learning_rate must be above 0. Received: -1.0"),
        ({"learning_rate": 0.1}, "must be a list of choices or have min and max. Received: 0.1"),
        ({"learning_rate": {"min": 0.1}}, "have min and max"),
        ({"learning_rate": {"min": 0.1, "max": 0.2, "sampling": "log"}}, "have min and max"),
        ({"learning_rate": {"min": 0.1, "max": 0.01}}, "min below max"),
        ({"learning_rate": {"min": 0, "max": 1, "log": True}}, "above 0 for log"),
        ({"num_layers": {"min": 1, "max": 2.5}}, "takes whole numbers"),
        ({"num_layers": {"min": 1, "max": 4, "step": 0}}, "a step above 0"),
        ({"num_layers": {"min": 1, "max": 4, "step": 5}}, "a step that leaves more than min. Received: 5"),
        ({"learning_rate": {"min": 1e-3, "max": 1e-2, "step": 20, "log": True}}, "leaves more than min"),
        ({"adversarial_weight": [0.1]}, "which only a GAN has; add --discriminator"),
        ({"feature_adversarial_weight": [0.1]}, "add --discriminator"),
        ({"model": ["cnn5", "resnet18"], "num_filters": [8]}, "searches model and num_filters"),
        ({"batch_size": {"min": 1, "max": float("inf")}}, "have min and max"),
        ({"learning_rate": [float("nan")]}, "learning_rate must be a finite number. Received: nan"),
        ({"discriminator_learning_rate": [float("inf")]}, "must be a finite number or null. Received: inf"),
        ({"momentum": [0.5, 0.9]}, "x searches momentum, which only sgd has; add --optimizer sgd"),
        ({"momentum": [0.5, 0.9], "optimizer": ["adam"]}, "which only sgd has; search optimizer sgd too"),
        ({"beta_1": [0.5, 0.9], "optimizer": ["sgd"]}, "which only adam has; search optimizer adam too"),
        ({"adversarial_loss": ["hinge"]}, "--adversarial_loss needs --discriminator"),
    ],
)
def test_wrong_space_is_told_in_one_line(described, message):
    with pytest.raises(InputError) as error:
        space.Declared(described, BASE, "x")
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name,needs",
    [
        ("cycle_weight", "unpaired"),
        ("identity_weight", "unpaired"),
        ("feature_adversarial_weight", "feature_discriminator"),
    ],
)
def test_gan_weight_is_searched_where_it_does_something(name, needs):
    gan = dataclasses.replace(BASE, discriminator="patch")
    with pytest.raises(InputError, match=f"searches {name}, which does nothing without --{needs}; add it"):
        space.Declared({name: [0.1, 1.0]}, gan, "x")
    whole = dataclasses.replace(gan, **{needs: True if needs == "unpaired" else "patch"})
    assert getattr(space.Declared({name: [0.1, 1.0]}, whole, "x").configured(Proposed(**{name: 1.0})), name) == 1.0


def test_parameter_of_one_optimizer_is_searched_where_that_one_is_tried():
    described = {"momentum": [0.5, 0.9], "optimizer": ["adam", "sgd"]}
    assert space.Declared(described, BASE, "x").configured(Proposed(momentum=0.9, optimizer="sgd")).momentum == 0.9
    sgd = dataclasses.replace(BASE, optimizer="sgd")
    assert space.Declared({"momentum": [0.5, 0.9]}, sgd, "x").configured(Proposed(momentum=0.5)).momentum == 0.5


def test_what_makes_a_gan_is_searched_with_its_weights():
    gan = dataclasses.replace(BASE, discriminator="patch")
    described = {
        "adversarial_loss": ["vanilla", "hinge"],
        "spectral_normalization": [False, True],
        "adversarial_weight": {"min": 1e-4, "max": 1e-1, "log": True},
        "hard_patches": [0.0, 0.5],
    }

    class Booleans(Proposed):
        def Boolean(self, name, default):  # noqa: N802
            return self.values[name]

    chosen = {"adversarial_loss": "hinge", "spectral_normalization": True, "adversarial_weight": 0.01}
    found = space.Declared(described, gan, "x").configured(Booleans(**chosen, hard_patches=0.5))
    assert found == dataclasses.replace(gan, **chosen, hard_patches=0.5)


def test_name_twice_in_a_file_is_told(tmp_path):
    (tmp_path / "a.json").write_text('{"num_filters": [4], "num_filters": [8]}')
    with pytest.raises(InputError, match="a.json names num_filters twice"):
        space.read(tmp_path / "a.json")


def test_space_is_read_from_json_and_toml(tmp_path):
    (tmp_path / "a.json").write_text('{"num_layers": {"min": 3, "max": 7}, "loss": ["mae"]}')
    (tmp_path / "a.toml").write_text('loss = ["mae"]\n[num_layers]\nmin = 3\nmax = 7\n')
    assert space.read(tmp_path / "a.json") == space.read(tmp_path / "a.toml")


@pytest.mark.parametrize("name,text", [("a.json", "{"), ("a.toml", "a = "), ("a.json", "[1]"), ("a.yaml", "a: 1")])
def test_file_that_is_no_space_is_told(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=name):
        space.read(tmp_path / name)


@pytest.mark.parametrize("name", studies.names())
def test_study_is_a_grid_that_can_run(name):
    fields, searched = studies.study(name)
    base = config.from_dict(fields, name)
    Sweep(base, "grid", space=searched)
    assert len(space.Declared(searched, base, name).parameters[-1].choices) > 1  # the seeds
    assert list(searched)[-1] == "seed"


@pytest.mark.parametrize(
    "flags,message",
    [
        (["--max_trials", "0"], "max_trials must be above 0"),
        ([], "--tuner random needs --max_trials"),
        (["--tuner", "bayesian"], "--tuner bayesian needs --max_trials"),
        (["--tuner", "hyperband"], "needs --steps"),
        (["--tuner", "hyperband", "--steps", "4", "--min_steps", "2"], "at least 3 times min_steps"),
        (["--max_trials", "2", "--tile", "4"], "tile must be from 16 to 1024"),
        (["--max_trials", "2", "--patience", "0"], "patience must be above 0"),
        (["--study", "papers"], "did you mean paper?"),
        (["--max_trials", "2", "--model", "cnn5/filters=3"], "argument of cnn5 must be one of"),
        (["--max_trials", "2", "--space", "nowhere.json"], "found none at nowhere.json"),
    ],
)
def test_mistake_is_told_before_anything_is_made(tmp_path, flags, message):
    with pytest.raises(InputError) as error:
        tune.main([*flags, "--workdir", str(tmp_path / "sweep")])
    assert message in str(error.value)
    assert not (tmp_path / "sweep").exists()


def test_commands_of_the_examples_are_those_that_there_are():
    examples = pathlib.Path(__file__).resolve().parent.parent / "examples"
    pods = re.findall(r"^ *command: (\[.*\])$", (examples / "kubernetes" / "sweep.yaml").read_text(), re.M)
    flags = [json.loads(found) for found in pods]
    array = re.search(
        r"^# +sbatch .* examples/slurm/sweep.sbatch (.*)$", (examples / "slurm/sweep.sbatch").read_text(), re.M
    )
    flags.append(["python", "-m", "tfmisr.tune", *array[1].split()])
    for program, _, module, *own in flags:
        assert (program, module) == ("python", "tfmisr.tune")
        sweep, where = tune._sweep(tune._parser().parse_args(own))
        assert where == "the study paper" and sweep.tuner == "grid" and sweep.base.workdir


def test_seed_is_for_grids():
    with pytest.raises(InputError, match="by --tuner grid alone"):
        Sweep(BASE, "random", max_trials=2, space={"seed": [0, 1]})


def test_trial_of_an_unpaired_run_learns_from_its_lr_dataset(tmp_path, monkeypatch):
    from tfmisr import data
    from tfmisr.training import loop
    from tfmisr.tuning import trial

    seen = []
    monkeypatch.setattr(data, "load", lambda name, data_dir, manual_dir, pattern: (name, manual_dir))
    monkeypatch.setattr(trial, "_costs", lambda *_: {"reason": None})
    monkeypatch.setattr(trial, "_tell_tensorboard", lambda *_: None)
    monkeypatch.setattr(loop, "train", lambda chosen, source, until, lr_source: seen.append((source, lr_source)))
    fields = {"dataset": "hr", "discriminator": "patch", "unpaired": True, "feature_matching_weight": 1e-2}
    asked = {"config": {**fields, "lr_dataset": "lr", "lr_manual_dir": ["there"]}, "until": None, "previous": None}
    (tmp_path / "trial.json").write_text(json.dumps({**asked, "objective": "val_psnr"}))
    (tmp_path / "history.csv").write_text("step,val_psnr,val_loss\n5,30.0,0.1\n")
    assert trial.main([str(tmp_path)]) == 0
    assert seen == [(("hr", ()), ("lr", ("there",)))]


def begin(folder):
    """Does to a sweep's folder what its first trial does."""
    (folder / "oracle").mkdir()
    (folder / "oracle" / "oracle.json").write_text("{}")


def test_folder_of_another_sweep_or_a_run_is_refused(tmp_path):
    base = dataclasses.replace(BASE, workdir=str(tmp_path))
    Sweep(base, "grid").claim()
    Sweep(base, max_trials=2).claim()  # the one before had not begun
    begin(tmp_path)
    Sweep(dataclasses.replace(base, data_dir="elsewhere"), max_trials=9).claim()
    with pytest.raises(InputError, match="holds another sweep: tuner is 'random' there and 'grid' here; choose"):
        Sweep(base, "grid").claim()
    with pytest.raises(InputError, match="another sweep: scale is 4 there and 2 here"):
        Sweep(dataclasses.replace(base, scale=2), max_trials=2).claim()
    with pytest.raises(InputError, match="another sweep: seed"):
        Sweep(dataclasses.replace(base, seed=1), max_trials=2).claim()
    with pytest.raises(InputError, match="holds another sweep"):
        Sweep(base, "grid").join()
    with pytest.raises(InputError, match="found none; share that folder"):
        Sweep(dataclasses.replace(base, workdir=str(tmp_path / "elsewhere")), max_trials=2).join()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    with pytest.raises(InputError, match="holds a run"):
        Sweep(dataclasses.replace(base, workdir=str(tmp_path / "run")), max_trials=2).claim()


def test_sweep_from_other_initial_weights_is_another(tmp_path):
    paths = [tmp_path / name for name in ("a.keras", "b.keras")]
    for path in paths:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("model.weights.h5", path.name)
    base = dataclasses.replace(BASE, workdir=str(tmp_path / "sweep"))
    first, second = (dataclasses.replace(base, initial_weights=str(path)) for path in paths)
    Sweep(first, max_trials=2).claim()
    begin(tmp_path / "sweep")
    paths[0].rename(tmp_path / "moved.keras")
    Sweep(dataclasses.replace(base, initial_weights=str(tmp_path / "moved.keras")), max_trials=2).claim()
    for other in (second, base):
        with pytest.raises(InputError, match="another sweep: initial_weights is"):
            Sweep(other, max_trials=2).claim()


def test_sweep_goes_on_after_a_field_is_added_to_runs(tmp_path):
    sweep = Sweep(dataclasses.replace(BASE, workdir=str(tmp_path)), max_trials=2)
    sweep.claim()
    begin(tmp_path)
    old = json.loads((tmp_path / "sweep.json").read_text())
    del old["base"]["warmup_steps"]
    (tmp_path / "sweep.json").write_text(json.dumps(old))
    sweep.claim()


def a_result(trial, score, status="completed", reason=None, seed=0, **values):
    return {"trial": trial, "status": status, "reason": reason, "seed": seed, "values": values, "val_psnr": score}


def test_best_is_the_setting_with_the_best_mean_over_seeds():
    found = [a_result("0", 40.0, a=1, seed=0), a_result("1", 30.0, a=1, seed=1)]
    found += [a_result("2", 36.0, a=2, seed=0), a_result("3", 36.5, a=2, seed=1)]
    for result in found:
        result["values"]["seed"] = result["seed"]
    assert results.best(found, "val_psnr", "max")["trial"] == "2"
    assert results.best(found, "val_psnr", "min")["trial"] == "0"
    assert results.best([a_result("0", 99.0, "over"), a_result("1", None, "failed")], "val_psnr", "max") is None


def test_of_a_trial_that_went_on_only_the_longest_run_counts():
    short, long = a_result("0", 30.0, a=1) | {"steps": 3}, a_result("2", 36.0, a=1) | {"steps": 6}
    found = [short, a_result("1", 29.0, a=2) | {"steps": 3}, long, a_result("3", 35.0, a=3) | {"steps": 6}]
    assert results.best(found, "val_psnr", "max") is long
    assert results.best([short], "val_psnr", "max") is short


def test_table_has_a_row_a_trial_in_their_order():
    found = [a_result("2", None, "failed", "killed, and so on", a=1), a_result("10", 36.5, seed=7, a=2, b=0.1)]
    lines = results.table(found).splitlines()
    assert lines[0].startswith("trial,status,a,b,seed,steps,val_psnr,")
    assert lines[1] == '2,failed,1,,0,,,,,,,,,,,"killed, and so on"'
    assert lines[2].startswith("10,completed,2,0.1,7,,36.5,")


def test_rows_say_the_best_so_far_and_the_time_left(tmp_path, capsys, monkeypatch):
    from tfmisr.tuning import board

    now = [1000.0]
    monkeypatch.setattr(board.time, "monotonic", lambda: now[0])
    shown = board.Board(Sweep(dataclasses.replace(BASE, workdir=str(tmp_path)), "grid"), 4)
    now[0] += 90
    shown.ended(a_result("0", 36.5, rate=0.00123456) | {"seconds": 89.6})
    now[0] += 30
    shown.ended(a_result("1", None, "failed", "it broke", rate=0.1) | {"seconds": 3725.0})
    shown.ended(a_result("1", None, "failed", "it broke", rate=0.1))  # told before
    shown.close()
    head, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert head == "trial val_psnr best so far took left values".split()
    # 90 s a trial, three are left; then 120 s for two, two are left.
    assert rows[0] == "0 completed 36.5000 36.5000 (0) 1m30s 4m30s rate=0.001235".split()
    assert rows[1:] == ["1 failed - 36.5000 (0) 1h02m 2m00s rate=0.1 [it broke]".split()]


def a_sweep(folder, found):
    """Leaves the results that a sweep leaves at its end."""
    for result in found:
        result |= {"parameters": 10, "multiply_adds": 100}
        results.home(folder, result["trial"]).mkdir(parents=True)
        results.write(folder, result["trial"], result)
    (folder / "study.csv").write_text(results.table(found))


def test_end_says_what_each_parameter_does_and_the_mean_of_the_best(tmp_path, capsys):
    import types

    scores = {4: [30.0, 30.2, 30.1], 8: [31.0, 31.3, 30.7]}
    found = [
        a_result(str(3 * i + seed), score, seed=seed, filters=filters)
        for i, (filters, own) in enumerate(scores.items())
        for seed, score in enumerate(own)
    ]
    for result in found:
        result["values"]["seed"] = result["seed"]
    a_sweep(tmp_path, found)
    sweep = Sweep(dataclasses.replace(BASE, workdir=str(tmp_path)), max_trials=6)
    best = results.best(found, "val_psnr", "max")
    assert best["trial"] == "3" and results.repeated(found, best, "val_psnr") == (pytest.approx(31.0), 3)
    tune._end(sweep, best, types.SimpleNamespace(train_best=None, export_best=False))
    said = capsys.readouterr().out.splitlines()
    # Both means stand over the square root of three: 0.1 / 1.732 times Student's 4.303.
    assert "  filters = 4  30.1000 (29.8516 to 30.3484)" in said
    assert any(line.startswith("  filters 4 to 8  +0.9000 (") and line.endswith("  yes") for line in said)
    assert "best: trial 3 with val_psnr 31.0000 (31.0000 over 3 seeds): filters=8 seed=0" in said


def test_best_is_trained_and_then_exported_where_asked(tmp_path, monkeypatch):
    import types

    from tfmisr.tuning import driver

    commands, folder = [], tmp_path / "best-20"
    folder.mkdir()
    (folder / "model.keras").touch()
    monkeypatch.setattr(driver, "_command", lambda command: commands.append(" ".join(map(str, command))))
    sweep = Sweep(dataclasses.replace(BASE, workdir=str(tmp_path)), max_trials=1)
    short = a_result("0", 30.0, a=1) | {"steps": 3}
    a_sweep(tmp_path, [short])
    tune._end(sweep, short, types.SimpleNamespace(train_best=20, export_best=True))
    assert commands == [
        f"tfmisr.fit --config {tmp_path}/best.json --steps 20 --workdir {folder}",
        f"tfmisr.export {folder} --output {tmp_path}/exported --name best",
    ]
    with pytest.raises(InputError, match="stopped at step 3; add --train_best STEPS to export it"):
        tune._end(sweep, short, types.SimpleNamespace(train_best=None, export_best=True))
    with pytest.raises(InputError, match="no trial was completed; the reasons are in .*study.csv"):
        tune._end(sweep, None, types.SimpleNamespace(train_best=None, export_best=False))


def script(text):
    """Returns the command of a process that does `text`, with `home` the trial's folder."""
    start = "import pathlib, sys, os, signal, time, json; home = pathlib.Path(sys.argv[1])\n"
    return [sys.executable, "-c", start + textwrap.dedent(text)]


@pytest.fixture
def runner(tmp_path):
    from tfmisr.tuning import runner

    sweep = Sweep(dataclasses.replace(BASE, workdir=str(tmp_path)), "grid", space={"num_filters": [4, 8]})
    for trial_id in ("0", "1"):
        folder = tmp_path / "oracle" / f"trial_{trial_id}"
        folder.mkdir(parents=True)
        (folder / "trial.json").write_text(json.dumps({"hyperparameters": {"values": {"num_filters": 8}}}))

    def made(text, **fields):
        own = dataclasses.replace(sweep, **fields)
        return runner.Runner(own, space.Declared(own.space, own.base, "x"), lambda trial: None, command=script(text))

    return made


@pytest.mark.parametrize(
    "text,reason",
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL, as the system does where memory runs out"),
        ("os.abort()", "killed by SIGABRT"),
        ("print('x'); sys.exit(3)", "exit status 3: x"),
        (
            "print('error: the loss became nan at step 4', file=sys.stderr); sys.exit(2)",
            "the loss became nan at step 4",
        ),
        ("raise MemoryError('of the GPU\\nand more')", "exit status 1: MemoryError: of the GPU"),
        (
            "print('tensorflow.python.framework.errors_impl.ResourceExhaustedError: Graph execution error:\\n\\n'"
            "'Detected at node cnn5/conv1 defined at (most recent call last):\\n  File \"x.py\", line 1, in f\\n\\n'"
            "'OOM when allocating tensor with shape[9,9] by allocator GPU_0\\n\\t [[{{node conv1}}]]'); sys.exit(1)",
            "exit status 1: ResourceExhaustedError: OOM when allocating tensor with shape[9,9] by allocator GPU_0",
        ),
        (
            "print('a.ResourceExhaustedError: Graph execution error:\\n\\n2 root error(s) found.\\n'"
            "'  (0) RESOURCE_EXHAUSTED: OOM when allocating\\n  (1) CANCELLED'); sys.exit(1)",
            "exit status 1: ResourceExhaustedError: (0) RESOURCE_EXHAUSTED: OOM when allocating",
        ),
        (
            "print('a.UnknownError: Graph execution error:'); sys.exit(1)",
            "exit status 1: UnknownError: Graph execution error:",
        ),
        ("sys.exit(0)", "exit status 0: it said nothing"),
    ],
)
def test_what_kills_a_trial_is_its_result_and_nothing_else(runner, tmp_path, text, reason):
    found = runner(text).run("0")
    assert (found["status"], found["reason"]) == ("failed", reason)
    assert found["values"] == {"num_filters": 8} and results.read(tmp_path, "0") == found


@pytest.mark.parametrize("epochs,until", [(1, 3), (11, 33), (33, 100)])
def test_longest_trial_of_hyperband_goes_to_the_end_of_the_run(runner, tmp_path, epochs, until):
    # A third of a third of 100 steps is no whole number: 33 times 3 would leave the last step out, and no network.
    values = {"num_filters": 8, "tuner/epochs": epochs}
    (tmp_path / "oracle/trial_0/trial.json").write_text(json.dumps({"hyperparameters": {"values": values}}))
    base = dataclasses.replace(BASE, workdir=str(tmp_path), steps=100)
    runner("sys.exit(1)", base=base, tuner="hyperband").run("0")
    assert json.loads((tmp_path / "trials/0/trial.json").read_text())["until"] == until


def test_trial_is_run_once_and_knows_its_run(runner, tmp_path):
    done = """
        asked = json.loads((home / "trial.json").read_text())
        (home / "found.json").write_text(json.dumps({"status": "completed", "reason": None, "asked": asked}))
    """
    found = runner(done, max_params=7).run("0")
    assert found["status"] == "completed"
    assert found["asked"]["config"]["model"] == "cnn5/num_filters=8" and found["asked"]["max_params"] == 7
    assert found["asked"]["config"]["workdir"] == str(tmp_path / "trials" / "0")
    assert runner("sys.exit(1)").run("0") == found


def test_reason_is_that_of_the_last_attempt(runner, tmp_path):
    first = runner("print('error: the first', file=sys.stderr); sys.exit(2)")
    assert first.run("0")["reason"] == "the first"
    results.forget(tmp_path, "0")
    assert runner("sys.exit(5)").run("0")["reason"] == "exit status 5: it said nothing"


def test_trial_that_takes_too_long_has_failed(runner):
    found = runner("time.sleep(60)", trial_hours=1 / 3600).run("0")
    assert found["reason"].startswith("it took longer than 0.000277778 hours")


def test_trial_that_another_has_taken_is_left_to_it(runner, tmp_path):
    from tfmisr.tuning.runner import Taken

    with pytest.raises(Taken, match="trial 0 is run by somebody"):
        runner("(home / 'claim').write_text('somebody'); time.sleep(60)").run("0")
    assert results.read(tmp_path, "0") is None


def test_interrupt_ends_the_trial_and_leaves_no_result(runner, tmp_path, monkeypatch):
    mine = runner("(home / 'pid').write_text(str(os.getpid())); time.sleep(60)")
    monkeypatch.setattr(
        mine, "tick", lambda home: os.kill(os.getpid(), signal.SIGINT) if (home / "pid").exists() else 0
    )
    with pytest.raises(KeyboardInterrupt):
        mine.run("0")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "trials" / "0" / "pid").read_text()), 0)
    assert results.read(tmp_path, "0") is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked at in Linux's /proc")
def test_process_of_a_trial_dies_with_what_started_it(tmp_path):
    code = """
        import subprocess
        from tfmisr.tuning import processes
        child = "import time; from tfmisr.tuning import processes; processes.die_with_parent(); time.sleep(60)"
        print(processes.start([sys.executable, "-c", child], stdout=subprocess.DEVNULL).pid, flush=True)
        time.sleep(60)
    """
    parent = subprocess.Popen([*script(code), str(tmp_path)], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 20
    while is_alive(child):
        assert time.monotonic() < deadline, "the trial outlived its sweep"
        time.sleep(0.1)


def is_alive(pid) -> bool:
    """Tells whether a process runs; one that has ended and whom nobody has asked yet does not."""
    try:
        return ") Z " not in pathlib.Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
