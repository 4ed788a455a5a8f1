"""Weights of the zoo's networks: the numbers that the papers print, and by hand where they print none."""

import math

import keras
import pytest

from tfmisr import models


def shape_of(name, scale, channels):
    with keras.StatelessScope(initialize_variables=False):  # a network without values: only its shape costs time
        return models.create(name, scale, channels)


def count(network, *names):
    return sum(math.prod(w.shape) for w in network.weights if not names or w.name in names)


def conv(size, inputs, outputs):
    return size**2 * inputs * outputs + outputs


# What each paper counts: kernels without biases.
@pytest.mark.parametrize(
    "name,scale,published",
    [
        ("srcnn/9-1-5", 3, 8_032),  # section 4.3
        ("srcnn/9-3-5", 3, 24_416),
        ("srcnn/9-5-5", 3, 57_184),
        ("fsrcnn/baseline", 3, 12_464),  # table 1; with slopes and biases left out there too
        ("fsrcnn/small", 3, 3_937),  # table 3
        ("vdsr/baseline", 2, 9 * 64 + 18 * 9 * 64 * 64 + 9 * 64),  # "665K" in CARN's table 1
    ],
)
def test_kernels_of_the_early_networks(name, scale, published):
    assert count(shape_of(name, scale, 1), "kernel") == published


def test_fsrcnn_at_even_scales_has_nineteen_taps_more_for_each_filter():
    assert count(shape_of("fsrcnn/baseline", 2, 1), "kernel") == 12_464 + (10**2 - 9**2) * 56


def test_espcn_by_hand():
    assert count(shape_of("espcn", 3, 1)) == conv(5, 1, 64) + conv(3, 64, 32) + conv(3, 32, 9)


@pytest.mark.parametrize("name,layers", [("red10", 5), ("red20", 10), ("red30", 15)])
def test_rednet_by_hand(name, layers):
    network = shape_of(f"rednet/{name}", 2, 1)
    assert count(network) == conv(3, 1, 64) + (2 * layers - 2) * conv(3, 64, 64) + conv(3, 64, 1)
    decoders = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2DTranspose)]
    assert len(decoders) == layers
    # Every second layer is linked to its mirror image; the last link is that of input and output.
    sums = [layer for layer in network.layers if isinstance(layer, keras.layers.Add)]
    assert len(sums) == (1 if name == "red10" else (layers - 1) // 2 + 1)


def test_srresnet_as_carn_counts_it():
    # 1,543 K in table 1 of Ahn et al., ECCV 2018, https://arxiv.org/abs/1803.08664, are the convolutions.
    stem, block = conv(9, 3, 64), 2 * 9 * 64 * 64
    trunk, upsampling, last = 9 * 64 * 64, 2 * conv(3, 64, 256), conv(9, 64, 3)
    convolutions = stem + 16 * block + trunk + upsampling + last
    assert convolutions == 1_543_107
    network = shape_of("srresnet", 4, 3)
    assert count(network, "kernel", "bias") == convolutions
    # Four numbers a filter for 33 batch normalisations, one for 16 + 1 + 2 slopes.
    assert count(network) == convolutions + 64 * (4 * 33 + 19)


# 43 M is in EDSR's table 1, 16 M in RCAN's comparison of model sizes. The further digits are those that later papers
# print for the authors' code, without the 24 fixed numbers of its mean colour.
@pytest.mark.parametrize(
    "name,scale,published",
    [
        ("edsr/baseline", 2, "1.37"),
        ("edsr/baseline", 4, "1.52"),
        pytest.param("edsr/large", 4, "43.09", marks=pytest.mark.large),
        pytest.param("rdn/large", 2, "22.123", marks=pytest.mark.large),
        pytest.param("rdn/large", 3, "22.308", marks=pytest.mark.large),
        pytest.param("rdn/large", 4, "22.271", marks=pytest.mark.large),
        pytest.param("rcan/large", 2, "15.445", marks=pytest.mark.large),
        pytest.param("rcan/large", 3, "15.629", marks=pytest.mark.large),
        pytest.param("rcan/large", 4, "15.592", marks=pytest.mark.large),
        pytest.param("rrdb/large", 4, "16.698", marks=pytest.mark.large),
    ],
)
def test_millions_of_the_large_networks_on_color_images(name, scale, published):
    digits = len(published.partition(".")[2])
    assert f"{count(shape_of(name, scale, 3)) / 1e6:.{digits}f}" == published


def upsampling(scale, filters):
    return {2: 1, 4: 2, 8: 3}.get(scale, 0) * conv(3, filters, 4 * filters) + (scale == 3) * conv(
        3, filters, 9 * filters
    )


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_edsr_by_hand(scale):
    body = 16 * 2 * conv(3, 64, 64) + conv(3, 64, 64)
    expected = conv(3, 3, 64) + body + upsampling(scale, 64) + conv(3, 64, 3)
    assert count(shape_of("edsr", scale, 3)) == expected


def test_rdn_by_hand():
    # Six blocks of four convolutions that each add 32 filters to 64.
    block = sum(conv(3, 64 + 32 * c, 32) for c in range(4)) + conv(1, 64 + 4 * 32, 64)
    fusion = conv(1, 6 * 64, 64) + conv(3, 64, 64)
    expected = conv(3, 3, 64) + conv(3, 64, 64) + 6 * block + fusion + upsampling(2, 64) + conv(3, 64, 3)
    assert count(shape_of("rdn", 2, 3)) == expected


def test_rcan_by_hand():
    # Four groups of four blocks, whose attention goes from 64 filters to 4 and back.
    block = 2 * conv(3, 64, 64) + conv(1, 64, 4) + conv(1, 4, 64)
    group = 4 * block + conv(3, 64, 64)
    expected = conv(3, 3, 64) + 4 * group + conv(3, 64, 64) + upsampling(2, 64) + conv(3, 64, 3)
    assert count(shape_of("rcan", 2, 3)) == expected


@pytest.mark.parametrize("scale,steps", [(2, 1), (3, 1), (4, 2), (8, 3)])
def test_rrdb_by_hand(scale, steps):
    # Six blocks (Real-ESRGAN's x4plus_anime_6B: 4,467,779 at x4) of three dense blocks of five convolutions.
    dense = sum(conv(3, 64 + 32 * c, 32) for c in range(4)) + conv(3, 64 + 4 * 32, 64)
    expected = conv(3, 3, 64) + 6 * 3 * dense + conv(3, 64, 64) + (steps + 1) * conv(3, 64, 64) + conv(3, 64, 3)
    assert count(shape_of("rrdb", scale, 3)) == expected


@pytest.mark.parametrize("name,depth", [("vdsr", 20), ("srcnn", 3), ("espcn", 3), ("fsrcnn", 7), ("edsr", 35)])
def test_depth_of_the_chain(name, depth):
    # VDSR 20; SRCNN and ESPCN 3; FSRCNN 1 + 1 + 4 + 1 and the transposed one, 7 without; EDSR 1 + 2 * 16 + 1 + 1.
    network = shape_of(name, 2, 1)
    found = [layer for layer in network.layers if type(layer) is keras.layers.Conv2D]
    assert len(found) == depth + (name == "edsr")  # and one before the shuffle


def test_cnn5_and_its_relatives_by_hand():
    # cnn5 x4: 9*64 + 4*9*64*64 weights, 5*2*64 of batch normalisation (trained), 9*64*16+16 of the last convolution.
    trained = sum(math.prod(w.shape) for w in shape_of("cnn5", 4, 1).trainable_weights)
    assert trained == 9 * 64 + 4 * 9 * 64 * 64 + 5 * 2 * 64 + 9 * 64 * 16 + 16
    convolutions = [layer for layer in shape_of("resnet18", 4, 1).layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(convolutions) == 18
    blocks = [layer for layer in shape_of("resnet6", 4, 1).layers if layer.name.endswith("_add")]
    assert len(blocks) == 6 + 1
