"""The command line of a run, its file, its presets and its mistakes."""

import argparse
import dataclasses
import json
import pathlib

import pytest

from tfmisr import config, presets
from tfmisr.config.fields import Config
from tfmisr.edge.errors import InputError


def parsed(*arguments) -> Config:
    parser = argparse.ArgumentParser()
    for flag in ("--preset", "--config"):
        parser.add_argument(flag, default=argparse.SUPPRESS)
    config.add_arguments(parser)
    return config.parse(parser.parse_args(arguments))


def test_no_arguments_give_the_defaults():
    assert parsed() == Config()


def test_flag_goes_before_file_and_file_before_default(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps({"scale": 2, "batch_size": 3}))
    found = parsed("--config", str(tmp_path / "c.json"), "--scale", "8")
    assert (found.scale, found.batch_size, found.patch_size) == (8, 3, Config().patch_size)


def test_file_of_a_run_gives_the_same_configuration(tmp_path):
    first = parsed("--preset", "paper_gan", "--manual_dir", "a", "b", "--no-quantize_lr")
    (tmp_path / "c.json").write_text(first.to_json())
    assert parsed("--config", str(tmp_path / "c.json")) == first


@pytest.mark.parametrize(
    "fields,message",
    [
        ({"scal": 2}, "scal; did you mean scale?"),
        ({"scale": 5}, "scale must be one of 1, 2, 3, 4, 8. Received: 5"),
        ({"scale": "4"}, "scale must be"),
        ({"batch_size": 0}, "batch_size must be above 0. Received: 0"),
        ({"steps": -1}, "steps must be above 0"),
        ({"loss": "charbonier"}, "Received: charbonier; did you mean charbonnier?"),
        ({"ema_decay": 1.0}, "ema_decay must be in"),
        ({"validate_every": 150}, "validate_every must be a multiple of save_every"),
        ({"jit_compile": True}, "--no-deterministic"),
        ({"gradient_accumulation_steps": 2, "distribute": "mirrored"}, "--distribute none"),
        ({"learning_rate": True}, "learning_rate must be"),
        ({"learning_rate": float("nan")}, "learning_rate must be"),
        ({"epochs": float("inf")}, "epochs must be"),
        ({"steps": 3, "epochs": 2.0}, "steps or epochs, not both. Received: 3 and 2.0"),
        ({"seed": -1}, "seed must be in [0, 2**32). Received: -1"),
        ({"momentum": 2.0}, "momentum must be in [0, 1). Received: 2.0"),
        ({"beta_1": 1.5}, "beta_1 must be in"),
        ({"discriminator_learning_rate": 0.0}, "discriminator_learning_rate must be above 0"),
        ({"adversarial_weight": -1.0}, "adversarial_weight must not be negative"),
        ({"clip_fraction": 0.5}, "--clip_fraction needs --quantization_aware. Received: 0.5"),
        ({"clip_fraction": 0.0, "quantization_aware": True}, "clip_fraction must be above 0 and at most 1"),
    ],
)
def test_mistake_in_a_file_is_told_in_one_line(tmp_path, fields, message):
    (tmp_path / "c.json").write_text(json.dumps(fields))
    with pytest.raises(InputError) as error:
        parsed("--config", str(tmp_path / "c.json"))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "[1]", "{", '"a"'])
def test_file_that_is_no_object_is_refused(tmp_path, text):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(InputError, match="c.json"):
        parsed("--config", str(tmp_path / "c.json"))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="found none at .*nothing.json"):
        parsed("--config", str(tmp_path / "nothing.json"))


def test_unknown_preset_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="did you mean paper_gan"):
        parsed("--preset", "papergan")


@pytest.mark.parametrize("name", presets.names())
def test_preset_is_a_configuration_and_tells_what_it_is(name):
    import importlib

    assert config.from_dict(config.preset(name), name)
    assert len(importlib.import_module(f"tfmisr.presets.{name}").__doc__) > 60


@pytest.mark.parametrize("old,new", [("finish", "finetune_mse"), ("finish_int8", "finetune_int8")])
def test_old_name_of_a_preset_is_accepted_with_a_warning(old, new, capsys):
    assert parsed("--preset", old) == parsed("--preset", new)
    assert capsys.readouterr().err == f"warning: preset {old} is now called {new}\n"


def test_presets_hold_the_papers_settings():
    cnn, gan = (config.from_dict(config.preset(name), name) for name in ("paper_cnn", "paper_gan"))
    assert (cnn.loss, cnn.optimizer, cnn.learning_rate, cnn.momentum) == ("mse", "sgd", 0.001, 0.9)
    assert (cnn.batch_size, cnn.epochs, cnn.schedule, cnn.model) == (16, 100, "constant", "resnet18")
    assert (gan.optimizer, gan.learning_rate, gan.beta_1, gan.beta_2) == ("adam", 0.0002, 0.5, 0.999)
    assert (gan.batch_size, gan.epochs, gan.model, gan.discriminator) == (16, 200, "resnet6", "dcgan")
    assert gan.feature_matching_weight > 0


def test_steps_flag_replaces_the_epochs_of_a_preset():
    found = parsed("--preset", "paper_cnn", "--steps", "30")
    assert (found.steps, found.epochs) == (30, None)
    assert found.total_steps(1000) == 30


def test_epochs_are_passes_over_the_images():
    assert parsed("--preset", "paper_cnn").total_steps(1001) == 6257  # 100 * 1001 / 16, rounded up
    assert Config(epochs=0.5, batch_size=10).total_steps(30) == 2


def test_folder_names_the_dataset_and_not_only_its_configuration():
    assert Config(dataset="chest_xray14/512").folder.name.startswith("chest_xray14-512-cnn5-x4-")
    assert Config(dataset="/archive/scans/").folder.name.startswith("scans-cnn5-x4-")
    assert Config(dataset="./scans").folder.name.startswith("scans-cnn5-x4-")
    assert Config(dataset=".").folder.name.startswith(f"{pathlib.Path.cwd().name}-cnn5-x4-")


def test_folder_tells_different_runs_apart_and_equal_ones_not():
    assert Config().folder == Config(data_dir="elsewhere").folder
    assert Config().folder != Config(seed=1).folder


def test_every_field_has_a_help_line():
    assert all(len(field.metadata["help"]) > 5 for field in dataclasses.fields(Config))


def earlier_file(folder, **fields):
    """Writes the config.json of a run that began before there was a warm-up by default."""
    found = json.loads(Config(**fields).to_json())
    del found["auto_warmup"]
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(found))
    return folder


def test_run_of_an_earlier_version_goes_on_in_its_folder_without_a_warm_up(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parsed().auto_warmup
    folder = earlier_file(tmp_path / Config(auto_warmup=False).folder)
    assert not parsed().auto_warmup and parsed().folder.resolve() == folder
    assert parsed("--auto_warmup").auto_warmup and parsed("--auto_warmup").folder.resolve() != folder
    assert not parsed("--workdir", str(folder)).auto_warmup
    assert not parsed("--config", str(folder / "config.json")).auto_warmup
    # A run that began with it, or knowingly without, is another matter.
    (folder / "config.json").write_text(Config(auto_warmup=False).to_json())
    assert parsed().auto_warmup and not parsed("--config", str(folder / "config.json")).auto_warmup


@pytest.mark.parametrize("name", ["paper_cnn", "paper_cnn5", "paper_gan", "srgan", "cyclegan", "best_x4"])
def test_presets_of_published_settings_have_no_warm_up_of_our_own(name):
    assert not config.from_dict(config.preset(name), name).auto_warmup
