"""The list of the zoo, and the count of multiply-adds behind it."""

import re
import subprocess
import sys

import keras
import pytest

from tfmisr import layers, models
from tfmisr.edge.errors import InputError
from tfmisr.models import __main__ as command
from tfmisr.models._cost import multiply_adds


def network(*stack, channels=3):
    low_res = x = keras.Input((None, None, channels), name="low_res")
    for layer in stack:
        x = layer(x)
    return keras.Model(low_res, x)


# An image of 6 x 10 pixels and three channels.
@pytest.mark.parametrize(
    "layer,count",
    [
        (keras.layers.Conv2D(5, 3, padding="same"), 3 * 3 * 3 * 5 * 60),
        (keras.layers.Conv2D(5, 3), 3 * 3 * 3 * 5 * 4 * 8),
        (keras.layers.Conv2D(5, 3, strides=2, padding="same"), 3 * 3 * 3 * 5 * 3 * 5),
        (keras.layers.Conv2D(6, 3, groups=3, padding="same"), 3 * 3 * 1 * 6 * 60),
        (keras.layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same"), 3 * 3 * 6 * 60),
        (keras.layers.SeparableConv2D(5, 3, padding="same"), (3 * 3 * 3 + 3 * 5) * 60),
        (keras.layers.Conv2DTranspose(5, 9, strides=2, padding="same"), 9 * 9 * 3 * 5 * 60),
        (keras.layers.Dense(7), 3 * 7 * 60),
        # Five by five taps, three channels to three in each of four phases.
        (layers.BicubicUpsampling(2), 5 * 5 * 3 * 3 * 4 * 60),
        (keras.layers.ReLU(), 0),
        (keras.layers.BatchNormalization(), 0),
        (keras.layers.AveragePooling2D(2), 0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_multiply_adds_by_hand(layer, count):
    assert multiply_adds(network(layer), 6, 10) == count


def test_layer_that_is_used_twice_counts_twice():
    shared = keras.layers.Conv2D(3, 3, padding="same")
    assert multiply_adds(network(shared, shared), 4, 4) == 2 * 9 * 3 * 3 * 16


def test_network_in_a_network_counts_at_the_size_it_sees():
    inner = network(keras.layers.Conv2D(3, 1))
    assert multiply_adds(network(keras.layers.MaxPooling2D(2), inner), 8, 8) == 3 * 3 * 16


def test_branches_that_meet_count_once():
    low_res = keras.Input((None, None, 2))
    x = keras.layers.Conv2D(4, 1, name="stem")(low_res)
    y = keras.layers.Add()([keras.layers.Conv2D(4, 1, name="left")(x), keras.layers.ReLU()(x)])
    assert multiply_adds(keras.Model(low_res, y), 3, 3) == (2 * 4 + 4 * 4) * 9


def test_layer_whose_kernel_is_unknown_is_not_passed_over():
    class Strange(keras.layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight((3, 3))

        def call(self, inputs):
            return inputs @ self.kernel

    with pytest.raises(TypeError, match="of Strange, which has a kernel. Received: layer own"):
        multiply_adds(network(Strange(name="own")), 4, 4)


def test_cnn5_by_hand():
    # Stem, four layers of 64 to 64, the sub-pixel convolution, and the interpolation's 25 taps in 16 phases.
    per_pixel = 9 * 64 + 4 * 9 * 64 * 64 + 9 * 64 * 16 + 25 * 16
    assert multiply_adds(models.create("cnn5", 4), 20, 30) == per_pixel * 600


def test_tools_of_the_zoo_are_no_models():
    assert not {"cost", "__main__"} & set(models.names())


CODE = """if True:
    import sys
    sys.modules["tensorflow"] = sys.modules["keras"] = None
    from tfmisr.models import __main__ as command
    sys.exit(command.main([]))
"""


def test_list_names_all_models_without_tensorflow():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == models.names()
    words = next(line for line in lines if line.startswith("sesr ")).split()
    assert words[1:9] == ["m5,", "m3,", "m7,", "m11,", "xl", "2022", "SESR:", "collapsible"]


@pytest.mark.parametrize("name,year", [("san", "2019"), ("rrdb", "2018"), ("cnn5", "-")])
def test_year_is_that_of_the_paper_and_no_part_of_an_address(name, year):
    assert command.summary(name)[2] == year


def test_counts_are_of_what_is_used(capsys):
    assert command.main(["--names", "sesr/m3", "cnn5/num_filters=4", "--scale", "2"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    # Per input pixel 25 * 16 + 3 * 9 * 16 * 16 + 25 * 16 * 4 multiply-adds, over four pixels of output.
    kernels = 25 * 16 + 3 * 9 * 16 * 16 + 25 * 16 * 4
    assert lines[1] == ["sesr/m3", f"{kernels + 4 * 16 + 4 + 3 * 16:,}", "2.23", "G"]
    # Five convolutions of 36 and four times 144 weights, 16 numbers each of normalisation, and 4 filters with biases.
    assert lines[2] == ["cnn5/num_filters=4", str(36 + 4 * 144 + 5 * 16 + 36 * 4 + 4), "0.21", "G"]


@pytest.mark.parametrize(
    "flags,message",
    [
        (["--names", "edsrr"], "did you mean edsr?"),
        (["--names", "sesr/m4"], "variant of sesr must be one of m5, m3"),
        (["--scale", "5"], "scale must be 2, 3, 4 or 8. Received: 5"),
        (["--scale", "2", "--channels", "2"], "channels must be 1 or 3. Received: 2"),
        (["--channels", "3"], "--channels needs --scale"),
    ],
)
def test_mistakes_are_reported(flags, message):
    with pytest.raises(InputError, match=re.escape(message)):
        command.main(flags)
