"""The contract of every loss: a new module in `tfmisr/losses/` is tested here without an edit."""

import importlib
import inspect
import itertools
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmisr import losses
from tfmisr._lazy import modules_of
from tfmisr.config.fields import Config
from tfmisr.edge.errors import InputError
from tfmisr.losses import _loss, expression

ROWS = _loss.rows()
# Those that need a file or a download are tested in test_losses.py.
TRIED = [row for row in ROWS if row.name != "perceptual"]


def settings(row):
    """Returns expressions with every choice and both ends of every whole number."""
    values = []
    for name, option in row.options.items():
        if isinstance(option, losses.Choice):
            tried = option.choices
        else:
            tried = (option.low, option.high) if isinstance(option, losses.Integer) else (option.default,)
        values.append([f"{name}={value}" for value in tried])
    return [f"{row.name}({', '.join(chosen)})" if chosen else row.name for chosen in itertools.product(*values)]


CASES = [text for row in TRIED for text in settings(row)]


def slope(text, y_true, y_pred):
    y_pred = tf.constant(y_pred)
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value = losses.get(text)(tf.constant(y_true), y_pred)
    return float(value), tape.gradient(value, y_pred).numpy()


@pytest.mark.parametrize("text", CASES)
def test_loss_and_gradient_are_finite_on_flat_and_on_equal_images(text):
    side = max(16, expression.smallest_side(expression.parse(text)[0]))
    texture = np.random.default_rng(0).random((1, side, side, 1), np.float32)
    flat = np.full_like(texture, 0.5)
    for y_true, y_pred in ((texture, texture), (flat, flat), (flat, texture), (texture, flat), (0 * flat, 2 * flat)):
        value, gradient = slope(text, y_true, y_pred)
        assert np.isfinite(value) and value >= 0 and np.isfinite(gradient).all()


@pytest.mark.parametrize("text", CASES)
def test_smallest_image_gives_a_number_and_a_smaller_one_is_refused(text):
    side = expression.smallest_side(expression.parse(text)[0])
    images = np.random.default_rng(0).random((2, 1, side, side, 1), np.float32)
    assert np.isfinite(float(losses.get(text)(*images)))
    expression.check(text, side)
    if side > 1:
        with pytest.raises(InputError, match=f"needs patches of at least {side} high-resolution pixels"):
            expression.check(f"mae + {text}", side - 1)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.name}-{row.selected_by}")
def test_options_of_a_row_are_those_of_its_class(row):
    parameters = inspect.signature(row.loss.value).parameters
    assert issubclass(row.loss.value, keras.losses.Loss)
    for name, option in row.options.items():
        assert parameters[name].default in (option.default, inspect.Parameter.empty)
    if row.options:
        others = set(parameters) - set(row.options)
        assert others == {"reduction", "name", "dtype"}


def test_rows_read_from_the_text_are_those_of_the_modules():
    for module in modules_of(losses.__path__):
        found = importlib.import_module(f"tfmisr.losses.{module}")
        rows = [value for value in vars(found).values() if isinstance(value, losses.Loss)]
        assert rows or module == "expression", "a helper module in tfmisr/losses/ has a leading underscore"
        for row in rows:
            read = next(r for r in ROWS if (r.name, r.selected_by) == (row.name, row.selected_by))
            assert read.loss.value is row.loss
            assert (read.options, read.min_side, read.order) == (row.options, row.min_side, row.order)


ADDED = '''"""Squared difference of the means, as anybody would add it."""
import keras
from keras import ops
from tfmisr.losses._loss import Loss, Number
@keras.saving.register_keras_serializable("test")
class MeanDifference(keras.losses.Loss):
    def __init__(self, factor=2.0, reduction="sum_over_batch_size", name="added_difference", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.factor = factor
    def call(self, y_true, y_pred):
        return self.factor * ops.square(ops.mean(y_true - y_pred, axis=(1, 2, 3)))
LOSS = Loss("added_difference", MeanDifference, {"factor": Number(2.0)}, min_side=5, order=2000)
'''


@pytest.fixture
def added(tmp_path, monkeypatch):
    """A loss in one new file, of a folder that is taken for part of `tfmisr/losses/`."""
    (tmp_path / "added_by_a_test.py").write_text(ADDED)
    monkeypatch.setattr(losses, "__path__", [*losses.__path__, str(tmp_path)])
    _loss.rows.cache_clear()
    yield
    _loss.rows.cache_clear()
    sys.modules.pop("tfmisr.losses.added_by_a_test", None)


def test_one_file_adds_a_loss_everywhere(added):
    assert losses.names()[-1] == "added_difference"
    Config(loss="mae + 0.1*added_difference", scale=2, patch_size=3)
    with pytest.raises(InputError, match="added_difference needs patches of at least 5"):
        Config(loss="added_difference", scale=2, patch_size=2)
    with pytest.raises(InputError, match="did you mean factor"):
        expression.parse("added_difference(factr=3)")
    assert "tfmisr.losses.added_by_a_test" not in sys.modules
    pair = np.zeros((1, 6, 6, 1)), np.full((1, 6, 6, 1), 0.5)
    # 0.5 of 3 * 0.5**2, and the mean absolute difference
    assert float(losses.get("mae + 0.5*added_difference(factor=3)")(*pair)) == pytest.approx(0.5 + 0.375)


def test_reading_names_and_options_imports_no_keras():
    script = (
        "import sys\nfrom tfmisr import losses\nfrom tfmisr.losses import expression\n"
        "for name in losses.names(): expression.check(name, 500)\n"
        "assert not {'tensorflow', 'keras', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_field_that_is_no_literal_is_named(tmp_path, monkeypatch, added):
    (tmp_path / "added_by_a_test.py").write_text('LOSS = Loss("x", X, min_side=SIDE)\n')
    _loss.rows.cache_clear()
    with pytest.raises(TypeError, match="added_by_a_test.LOSS: min_side must be a literal.* Received: SIDE"):
        losses.names()
