"""What a sweep searches: the declared space, its files, and what a user gets wrong in them."""

import dataclasses

import pytest

from tfmisr.config.fields import Config
from tfmisr.edge.errors import InputError
from tfmisr.tuning import space

BASE = Config(steps=10)


class Proposed:
    """Keras Tuner's `HyperParameters`, as far as a space uses it: the value of each name is given."""

    def __init__(self, **values):
        self.values, self.asked = values, {}

    def Choice(self, name, values, **kwargs):
        self.asked[name] = values
        return self.values.get(name, values[0])

    def Int(self, name, low, high, **kwargs):
        self.asked[name] = (low, high, kwargs)
        return self.values.get(name, low)

    Float = Int


def test_declared_space_makes_runs_of_fields_and_arguments():
    described = {
        "num_layers": {"min": 3, "max": 7, "step": 2},
        "learning_rate": {"min": 1e-4, "max": 1e-2, "log": True},
        "loss": ["mae", "mse"],
    }
    declared = space.DeclaredSpace(described, BASE, "x")
    hp = Proposed(num_layers=5, learning_rate=0.003)
    found = declared.configured(hp)
    assert found == dataclasses.replace(BASE, model="cnn5/num_layers=5", learning_rate=0.003, loss="mae")
    assert hp.asked["num_layers"] == (3, 7, {"step": 2})
    assert hp.asked["learning_rate"] == (1e-4, 1e-2, {"step": None, "sampling": "log"})


def test_whole_number_among_fractions_is_a_fraction():
    declared = space.DeclaredSpace({"learning_rate": [1, 0.1], "num_filters": [8]}, BASE, "x")
    assert declared.parameters[0].choices == (1.0, 0.1)
    assert type(declared.parameters[0].choices[0]) is float and declared.parameters[1].choices == (8,)


@pytest.mark.parametrize(
    "described,message",
    [
        ({}, "must name at least one hyperparameter"),
        ({"num_filter": [8]}, "did you mean num_filters?"),
        ({"scale": [2, 4]}, "what x searches must be one of"),
        ({"loss": ["mae", "l2"]}, "l2"),
        ({"loss": []}, "must have distinct choices"),
        ({"loss": ["mae", "mae"]}, "distinct choices"),
        ({"loss": ["mae", 3]}, "choices of one type"),
        ({"loss": [["mae"], ["mse"]]}, "choices of one type"),
        ({"loss": [{"mae": 1}]}, "choices of one type"),
        ({"learning_rate": [0.1, -1.0]}, "learning_rate must be above 0. Received: -1.0"),
        ({"learning_rate": 0.1}, "must be a list of choices or have min and max. Received: 0.1"),
        ({"learning_rate": {"min": 0.1}}, "have min and max"),
        ({"learning_rate": {"min": 0.1, "max": 0.2, "sampling": "log"}}, "have min and max"),
        ({"learning_rate": {"min": 0.1, "max": 0.01}}, "min below max"),
        ({"learning_rate": {"min": 0, "max": 1, "log": True}}, "above 0 for log"),
        ({"num_layers": {"min": 1, "max": 2.5}}, "takes whole numbers"),
        ({"num_layers": {"min": 1, "max": 4, "step": 0}}, "a step above 0"),
        ({"num_layers": {"min": 1, "max": 4, "step": 5}}, "a step smaller than the range. Received: 5"),
        ({"learning_rate": {"min": 1e-3, "max": 1e-2, "step": 20, "log": True}}, "a step smaller than the range"),
        ({"adversarial_weight": [0.1]}, "which only a GAN has; add --discriminator"),
        ({"feature_adversarial_weight": [0.1]}, "add --discriminator"),
        ({"model": ["cnn5", "resnet18"], "num_filters": [8]}, "searches model and num_filters"),
        ({"batch_size": {"min": 1, "max": float("inf")}}, "have min and max"),
        ({"learning_rate": [float("nan")]}, "learning_rate must be a finite number. Received: nan"),
        ({"discriminator_learning_rate": [float("inf")]}, "must be a finite number or null. Received: inf"),
        ({"momentum": [0.5, 0.9]}, "x searches momentum, which only sgd and muon have; add --optimizer sgd"),
        ({"momentum": [0.5, 0.9], "optimizer": ["adam"]}, "which only sgd and muon have; search optimizer sgd too"),
        ({"beta_1": [0.5, 0.9], "optimizer": ["sgd"]}, "which only adam and muon have; search optimizer adam too"),
        ({"adversarial_loss": ["hinge"]}, "--adversarial_loss needs --discriminator"),
    ],
)
def test_wrong_space_is_told_in_one_line(described, message):
    with pytest.raises(InputError) as error:
        space.DeclaredSpace(described, BASE, "x")
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
        space.DeclaredSpace({name: [0.1, 1.0]}, gan, "x")
    whole = dataclasses.replace(gan, **{needs: True if needs == "unpaired" else "patch"})
    assert getattr(space.DeclaredSpace({name: [0.1, 1.0]}, whole, "x").configured(Proposed(**{name: 1.0})), name) == 1.0


def test_parameter_of_one_optimizer_is_searched_where_that_one_is_tried():
    described = {"momentum": [0.5, 0.9], "optimizer": ["adam", "sgd"]}
    assert space.DeclaredSpace(described, BASE, "x").configured(Proposed(momentum=0.9, optimizer="sgd")).momentum == 0.9
    sgd = dataclasses.replace(BASE, optimizer="sgd")
    assert space.DeclaredSpace({"momentum": [0.5, 0.9]}, sgd, "x").configured(Proposed(momentum=0.5)).momentum == 0.5


def test_what_makes_a_gan_is_searched_with_its_weights():
    gan = dataclasses.replace(BASE, discriminator="patch")
    described = {
        "adversarial_loss": ["vanilla", "hinge"],
        "spectral_normalization": [False, True],
        "adversarial_weight": {"min": 1e-4, "max": 1e-1, "log": True},
        "hard_patches": [0.0, 0.5],
    }

    class Booleans(Proposed):
        def Boolean(self, name, default):
            return self.values[name]

    chosen = {"adversarial_loss": "hinge", "spectral_normalization": True, "adversarial_weight": 0.01}
    found = space.DeclaredSpace(described, gan, "x").configured(Booleans(**chosen, hard_patches=0.5))
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
