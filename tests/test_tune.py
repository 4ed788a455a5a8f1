"""The tune command: what it searches, what each trial is, and how it tells what became of it."""

import dataclasses
import json
import pathlib
import re
import zipfile

import numpy as np
import pytest

from tfmisr import config, models, options, tune
from tfmisr.config.fields import Config
from tfmisr.edge.errors import InputError
from tfmisr.tuning import parameter_studies, results, space
from tfmisr.tuning.sweep import Sweep

BASE = Config(steps=10)


def test_model_name_carries_arguments_of_build():
    assert models.parse_model_spec("cnn5/baseline,num_filters=8") == ("cnn5", "baseline", {"num_filters": 8})
    assert models.parse_model_spec("cnn5") == ("cnn5", "", {})
    assert models.format_model_spec("cnn5", {"num_layers": 3, "num_filters": 8}) == "cnn5/num_filters=8,num_layers=3"
    assert models.format_model_spec("cnn5/baseline,num_filters=8", {"num_filters": 4}) == "cnn5/baseline,num_filters=4"
    assert models.parse_model_spec(models.format_model_spec("x", {"a": True, "b": 1e-5, "c": "word"}))[2] == {
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


@pytest.mark.parametrize("name", parameter_studies.names())
def test_study_is_a_grid_that_can_run(name):
    fields, searched = parameter_studies.parameter_study(name)
    base = config.from_dict(fields, name)
    Sweep(base, "grid", space=searched)
    assert len(space.DeclaredSpace(searched, base, name).parameters[-1].choices) > 1  # the seeds
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
        (["--max_trials", "2", "--worker_timeout", "0"], "worker_timeout must be above 0"),
        (["--parameter_study", "papers"], "did you mean paper?"),
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
    pods = re.findall(r"^ *command: (\[.*\])$", (examples / "kubernetes" / "sweep.yaml").read_text(), re.MULTILINE)
    flags = [json.loads(found) for found in pods]
    array = re.search(
        r"^# +sbatch .* examples/slurm/sweep.sbatch (.*)$", (examples / "slurm/sweep.sbatch").read_text(), re.MULTILINE
    )
    flags.append(["python", "-m", "tfmisr.tune", *array[1].split()])
    for program, _, module, *own in flags:
        assert (program, module) == ("python", "tfmisr.tune")
        sweep, where = tune._sweep(tune._parser().parse_args(own))
        assert where == "the parameter study paper" and sweep.tuner == "grid" and sweep.base.workdir


def test_seed_is_for_grids():
    with pytest.raises(InputError, match="only by --tuner grid"):
        Sweep(BASE, "random", max_trials=2, space={"seed": [0, 1]})


def test_trial_of_an_unpaired_run_learns_from_its_lr_dataset(tmp_path, monkeypatch):
    from tfmisr import data
    from tfmisr.training import loop
    from tfmisr.tuning import trial

    seen = []
    monkeypatch.setattr(data, "load", lambda name, data_dir, manual_dir, pattern, begun: (name, manual_dir))
    monkeypatch.setattr(trial, "_costs", lambda *_: {"reason": None})
    monkeypatch.setattr(trial, "_write_hparams", lambda *_: None)
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
    Sweep(base, "grid").initialize_directory()
    Sweep(base, max_trials=2).initialize_directory()  # the one before had not begun
    begin(tmp_path)
    Sweep(dataclasses.replace(base, data_dir="elsewhere"), max_trials=9).initialize_directory()
    with pytest.raises(InputError, match="holds another sweep: tuner is 'random' there and 'grid' here; choose"):
        Sweep(base, "grid").initialize_directory()
    with pytest.raises(InputError, match="another sweep: scale is 4 there and 2 here"):
        Sweep(dataclasses.replace(base, scale=2), max_trials=2).initialize_directory()
    with pytest.raises(InputError, match="another sweep: seed"):
        Sweep(dataclasses.replace(base, seed=1), max_trials=2).initialize_directory()
    with pytest.raises(InputError, match="holds another sweep"):
        Sweep(base, "grid").join()
    with pytest.raises(InputError, match="found none; share that folder"):
        Sweep(dataclasses.replace(base, workdir=str(tmp_path / "elsewhere")), max_trials=2).join()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    with pytest.raises(InputError, match="holds a run"):
        Sweep(dataclasses.replace(base, workdir=str(tmp_path / "run")), max_trials=2).initialize_directory()


def test_sweep_from_other_initial_weights_is_another(tmp_path):
    paths = [tmp_path / name for name in ("a.keras", "b.keras")]
    for path in paths:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("model.weights.h5", path.name)
    base = dataclasses.replace(BASE, workdir=str(tmp_path / "sweep"))
    first, second = (dataclasses.replace(base, initial_weights=str(path)) for path in paths)
    Sweep(first, max_trials=2).initialize_directory()
    begin(tmp_path / "sweep")
    paths[0].rename(tmp_path / "moved.keras")
    Sweep(dataclasses.replace(base, initial_weights=str(tmp_path / "moved.keras")), max_trials=2).initialize_directory()
    for other in (second, base):
        with pytest.raises(InputError, match="another sweep: initial_weights is"):
            Sweep(other, max_trials=2).initialize_directory()


def test_sweep_goes_on_after_a_field_is_added_to_runs(tmp_path):
    sweep = Sweep(dataclasses.replace(BASE, workdir=str(tmp_path)), max_trials=2)
    sweep.initialize_directory()
    begin(tmp_path)
    old = json.loads((tmp_path / "sweep.json").read_text())
    del old["base"]["warmup_steps"]
    (tmp_path / "sweep.json").write_text(json.dumps(old))
    sweep.initialize_directory()


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
    _, head, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert head == "trial val_psnr best setting took left values".split()
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

    scores = {4: [30.0, 30.2, 30.1], 8: [31.2, 31.1, 30.7]}
    found = [
        a_result(str(3 * i + seed), score, seed=seed, filters=filters)
        for i, (filters, own) in enumerate(scores.items())
        for seed, score in enumerate(own)
    ]
    for result in found:
        result["values"]["seed"] = result["seed"]
        result["bicubic_psnr"] = 32.0
    a_sweep(tmp_path, found)
    sweep = Sweep(dataclasses.replace(BASE, workdir=str(tmp_path)), max_trials=6)
    best = results.best(found, "val_psnr", "max")
    repeats = results.repeated(found, best, "val_psnr")
    assert [result["trial"] for result in repeats] == ["3", "4", "5"] and results.mean(repeats, "val_psnr") == 31.0
    tune._end(sweep, best, types.SimpleNamespace(train_best=None, export_best=False), print)
    said = capsys.readouterr().out.splitlines()
    # Both means stand over the square root of three: 0.1 / 1.732 times Student's 4.303.
    assert "  filters = 4  30.1000 (29.8516 to 30.3484)" in said
    assert any(line.startswith("  filters 4 to 8  +0.9000 (") and line.endswith("  yes") for line in said)
    assert "best setting: filters=8: val_psnr 31.0000, mean of 3 seeds (trials 3, 4, 5)" in said
    assert "best.json is the first of them, trial 3, with 31.2000" in said
    assert (
        "Bicubic interpolation of the same crops: 32.0000; none of 2 settings is above it (differences from -1.9000"
        in str(said)
    )
    from tfmisr.tuning import board

    assert board.Board(sweep, 6)._best() == "31.0000 (3,4,5)"


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
    tune._end(sweep, short, types.SimpleNamespace(train_best=20, export_best=True), print)
    assert commands == [
        f"tfmisr.fit --config {tmp_path}/best.json --steps 20 --workdir {folder}",
        f"tfmisr.export {folder} --output {tmp_path}/exported --name best",
    ]
    with pytest.raises(InputError, match="stopped at step 3; add --train_best STEPS to export it"):
        tune._end(sweep, short, types.SimpleNamespace(train_best=None, export_best=True), print)
    with pytest.raises(InputError, match="no trial was completed; the reasons are in .*study.csv"):
        tune._end(sweep, None, types.SimpleNamespace(train_best=None, export_best=False), print)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_search_on_blank_images_is_refused_before_it_starts(tmp_path, monkeypatch, split):
    from synthetic import ArraySource, smooth_images

    from tfmisr import data
    from tfmisr.tuning import trial

    images = {name: smooth_images(2, 64, 0) for name in ("train", "validation")}
    images[split] = [np.full((64, 64, 1), value, np.uint8) for value in (0, 77)]
    monkeypatch.setattr(data, "load", lambda *_: ArraySource(tmp_path, images))
    fields = {"scale": 2, "patch_size": 8, "steps": 4, "validate_every": 100}
    (tmp_path / "trial.json").write_text(json.dumps({"config": fields}))
    with pytest.raises(
        InputError, match=f"with detail in the {split} split of arrays, found only images that interpolat"
    ):
        trial.main(["--check", str(tmp_path)])


def test_search_scored_on_blank_images_by_an_earlier_version_is_not_mixed_with_todays(tmp_path):
    from tfmisr.tuning import driver

    a_sweep(tmp_path, [a_result("0", 90.0, a=1) | {"bicubic_psnr": 30.0}])
    driver._require_comparable(tmp_path)
    a_sweep(tmp_path, [a_result("1", 90.0, a=2) | {"bicubic_psnr": float("inf")}])
    with pytest.raises(InputError, match="trial 1 in .* was scored by an earlier version"):
        driver._require_comparable(tmp_path)


def test_sweep_of_an_earlier_version_goes_on_without_a_warm_up(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ["--parameter_study", "minute", "--max_trials", "2"]
    sweep, _ = tune._sweep(tune._parser().parse_args(flags))
    assert sweep.base.auto_warmup
    old = dataclasses.replace(sweep, base=dataclasses.replace(sweep.base, auto_warmup=False))
    old.initialize_directory()
    (old.folder / "oracle").mkdir()
    (old.folder / "oracle" / "oracle.json").write_text("{}")
    written = json.loads((old.folder / "sweep.json").read_text())
    del written["base"]["auto_warmup"]
    (old.folder / "sweep.json").write_text(json.dumps(written))
    again, _ = tune._sweep(tune._parser().parse_args(flags))
    assert again.folder == old.folder != sweep.folder
    again.initialize_directory()
    given, _ = tune._sweep(tune._parser().parse_args([*flags, "--auto_warmup"]))
    assert given.base.auto_warmup and given.folder == sweep.folder


OLD_FLAGS = [
    ("study", "parameter_study", "minute"),
    ("patience", "worker_timeout", 7.0),
    ("chief_patience", "chief_timeout", 8.0),
]


@pytest.mark.parametrize("old,new,value", OLD_FLAGS)
def test_old_flag_is_hidden_and_does_what_the_new_one_does_after_a_warning(old, new, value, capsys):
    parser = tune._parser()
    assert f"--{old} " not in parser.format_help() and f"--{new} " in parser.format_help()
    assert "| ]" not in parser.format_usage() and "| )" not in parser.format_usage()
    found = parser.parse_args([f"--{old}", str(value)])
    assert capsys.readouterr().err == f"warning: --{old} is now called --{new}\n"
    assert found == parser.parse_args([f"--{new}", str(value)]) and capsys.readouterr().err == ""
    with pytest.warns(DeprecationWarning, match=f"{old} of tfmisr.tune is now called {new}"):
        assert options.parsed(parser, {old: value}) == options.parsed(parser, {new: value})
    with pytest.raises(InputError, match="not both"):
        options.parsed(parser, {old: value, new: value})


def test_old_flag_of_a_recipe_excludes_the_others(capsys):
    with pytest.raises(SystemExit):
        tune._parser().parse_args(["--study", "minute", "--preset", "paper_cnn"])
    assert "not allowed with argument" in capsys.readouterr().err
