"""Layers and losses, against Pillow, TensorFlow and hand calculation."""

import keras
import numpy as np
import pytest

from tfmisr import layers, losses
from tfmisr.edge.resize import upscale
from tfmisr.training.optimizers import LearningRate


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("channels", [1, 3])
def test_bicubic_layer_equals_pillow_inside_the_image(scale, channels):
    lr = np.random.default_rng(0).random((1, 9, 12, channels), dtype=np.float32)
    out = np.asarray(layers.BicubicUpsampling(scale)(lr))[0]
    inside = np.s_[2 * scale : -2 * scale, 2 * scale : -2 * scale]
    np.testing.assert_allclose(out[inside], upscale(lr[0], scale)[inside], atol=1e-6)


def test_bicubic_layer_mirrors_the_image_at_its_edge():
    lr = np.random.default_rng(0).random((1, 6, 7, 1), dtype=np.float32)
    mirrored = np.pad(lr, ((0, 0), (4, 4), (4, 4), (0, 0)), mode="symmetric")
    expected = upscale(mirrored[0], 2)[8:-8, 8:-8]
    np.testing.assert_allclose(np.asarray(layers.BicubicUpsampling(2)(lr))[0], expected, atol=1e-6)


def test_depth_to_space_by_hand():
    x = np.arange(8, dtype=np.float32).reshape(1, 1, 1, 8)  # 2 channels, scale 2: channel runs fastest
    out = np.asarray(layers.DepthToSpace(2)(x))
    assert out.shape == (1, 2, 2, 2)
    assert out[0].tolist() == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]


def test_charbonnier_by_hand():
    loss = losses.Charbonnier(epsilon=3.0)(np.zeros((1, 1, 1, 1)), np.full((1, 1, 1, 1), 4.0))
    assert float(loss) == pytest.approx(5.0)


def test_charbonnier_keeps_its_width_in_a_file():
    assert losses.Charbonnier.from_config(losses.Charbonnier(epsilon=0.5).get_config()).epsilon == 0.5


@pytest.mark.parametrize("name,expected", [("mse", 0.25), ("mae", 0.5)])
def test_pixel_losses_by_hand(name, expected):
    loss = losses.get(name)(np.zeros((2, 3, 3, 1)), np.full((2, 3, 3, 1), 0.5))
    assert float(loss) == pytest.approx(expected)


def test_unknown_loss_is_refused_by_name():
    with pytest.raises(ValueError, match="l3"):
        losses.get("l3")


@pytest.mark.parametrize(
    "decay,step,expected",
    [("constant", 500, 2.0), ("linear", 500, 1.0), ("cosine", 500, 1.0), ("cosine", 1000, 0.0), ("linear", 2000, 0.0)],
)
def test_learning_rate_by_hand(decay, step, expected):
    assert float(LearningRate(2.0, 1000, 0, decay)(step)) == pytest.approx(expected, abs=1e-6)


def test_warm_up_rises_in_a_line_to_the_peak():
    rates = [float(LearningRate(1.0, 100, 4)(step)) for step in range(6)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 1.0])


def test_learning_rate_survives_serialization():
    rate = LearningRate(2.0, 100, 10, "cosine")
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(rate))
    assert float(again(50)) == float(rate(50))


def test_damping_raises_the_rate_to_its_schedule_without_moving_it():
    damped = LearningRate(2.0, 8, decay="linear", damped_steps=4)
    # By hand: (1/4, 2/4, 3/4, 1, 1) of the fall 1, 7/8, 6/8, 5/8, 4/8.
    expected = [2 / 4, 2 * 7 / 16, 2 * 18 / 32, 2 * 5 / 8, 2 * 4 / 8]
    assert [float(damped(step)) for step in range(5)] == pytest.approx(expected)
    assert LearningRate.from_config(damped.get_config())(1) == damped(1)
