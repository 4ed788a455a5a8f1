"""Tiles: their places by hand, and no seam with real networks."""

import numpy as np
import pytest

from tfmisr.edge import tiling


def test_windows_by_hand():
    assert list(tiling.windows(10, 4, 1)) == [(0, 6, 0, 5), (4, 10, 5, 10)]
    assert list(tiling.windows(13, 4, 1)) == [(0, 6, 0, 5), (4, 10, 5, 9), (7, 13, 9, 13)]


@pytest.mark.parametrize("length", [5, 8, 12])
def test_one_window_where_the_image_is_no_larger_than_a_window(length):
    assert list(tiling.windows(length, 8, 2)) == [(0, length, 0, length)]


def test_image_of_one_pixel_more_than_a_window_takes_two():
    assert list(tiling.windows(13, 8, 2)) == [(0, 12, 0, 10), (1, 13, 10, 13)]


@pytest.mark.parametrize("length", [1, 7, 64, 101])
@pytest.mark.parametrize("tile,overlap", [(1, 0), (8, 3), (32, 40)])
def test_every_pixel_is_kept_once_and_has_its_context(length, tile, overlap):
    kept = []
    for first, end, start, stop in tiling.windows(length, tile, overlap):
        assert 0 <= first <= start < stop <= end <= length
        assert first == 0 or start - first >= overlap
        assert end == length or end - stop >= overlap
        kept += range(start, stop)
    assert kept == list(range(length))


@pytest.mark.parametrize("tile,overlap", [(0, 1), (4, -1)])
def test_impossible_tiles_are_refused(tile, overlap):
    with pytest.raises(ValueError, match="tile"):
        list(tiling.windows(10, tile, overlap))


def test_tile_is_converted_before_it_is_stored():
    lr = np.full((5, 5, 1), 0.5, np.float32)
    sr = tiling.upscale(lambda x: x.repeat(2, 1).repeat(2, 2), lr, 2, 3, 1, lambda x: np.rint(x * 100), np.uint8)
    assert sr.dtype == np.uint8
    assert sr.shape == (10, 10, 1)
    assert (sr == 50).all()


@pytest.fixture(scope="module", params=["cnn5", "resnet18", "resnet6"])
def network(request):
    import keras

    from tfmisr import models

    keras.utils.set_random_seed(1)
    model = models.create(request.param, 2, num_filters=4)
    for weight in model.weights:  # no zeros anywhere, so that every path is seen
        if "bn" not in weight.path:
            weight.assign(keras.random.normal(weight.shape, stddev=0.3, seed=3))
    return model


@pytest.mark.parametrize("shape", [(61, 83), (40, 130)])
def test_tiled_result_equals_the_whole_images(network, shape):
    from tfmisr import upscalers

    lr = np.random.default_rng(0).random((*shape, 1), dtype=np.float32)
    whole = np.asarray(network(lr[None], training=False))[0]
    tiled = upscalers.tiled(network, 24)(lr, 2)
    assert np.abs(tiled - whole).max() <= 1e-5 * max(np.abs(whole).max(), 1)


def test_less_overlap_than_the_receptive_radius_leaves_seams(network):
    lr = np.random.default_rng(0).random((60, 60, 1), dtype=np.float32)
    whole = np.asarray(network(lr[None], training=False))[0]
    seamed = tiling.upscale(lambda x: np.asarray(network(x, training=False)), lr, 2, 24, 1)
    assert np.abs(seamed - whole).max() > 1e-3


def test_receptive_radius_of_the_papers_networks_by_hand():
    from tfmisr import models, upscalers

    # Each 3x3 convolution sees one pixel further; the bicubic interpolation, which sees two, lies beside them.
    for name, convolutions in {"cnn5": 6, "resnet18": 18, "resnet6": 1 + 12 + 1 + 1}.items():
        assert upscalers.receptive_radius(models.create(name, 2)) == convolutions


def test_network_that_sees_the_whole_image_is_not_cut():
    import keras

    from tfmisr import upscalers

    image = keras.Input((None, None, 1))
    mean = keras.layers.GlobalAveragePooling2D(keepdims=True)(image)
    model = keras.Model(image, keras.layers.Add()([image, mean]))
    assert upscalers.receptive_radius(model) is None
