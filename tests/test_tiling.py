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
    from tfmisr.inference import upscalers

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
    from tfmisr import models
    from tfmisr.inference import upscalers

    # Each 3x3 convolution sees one pixel further; the bicubic interpolation, which sees two, lies beside them.
    for name, convolutions in {"cnn5": 6, "resnet18": 18, "resnet6": 1 + 12 + 1 + 1}.items():
        assert upscalers.receptive_radius(models.create(name, 2)) == convolutions


def test_network_that_sees_the_whole_image_is_not_cut():
    import keras

    from tfmisr.inference import upscalers

    image = keras.Input((None, None, 1))
    mean = keras.layers.GlobalAveragePooling2D(keepdims=True)(image)
    model = keras.Model(image, keras.layers.Add()([image, mean]))
    assert upscalers.receptive_radius(model) is None


def test_fitted_windows_by_hand():
    # Two windows of 10 rows and all columns: 160 pixels; four of 10 x 10 would read 400, one alone has 256.
    assert tiling.fit(16, 8, 2, 10) == (6, 4)
    assert list(tiling.grid(16, 8, (6, 4), 2)) == [
        ((0, 10, 0, 8), (0, 8, 0, 8)),
        ((6, 16, 8, 16), (0, 8, 0, 8)),
    ]
    assert tiling.fit(8, 8, 2, 8) == (4, 4)  # 64 pixels fit into one
    assert tiling.fit(4, 16, 2, 8) == (1, 12)  # as many, of another shape


@pytest.mark.parametrize("overlap,max_tile", [(0, 1), (3, 7), (3, 20), (7, 40)])
@pytest.mark.parametrize("shape", [(1, 1), (3, 90), (90, 3), (41, 40), (101, 67)])
def test_fitted_windows_have_one_shape_and_read_least(shape, overlap, max_tile):
    rows, columns = zip(*tiling.grid(*shape, tiling.fit(*shape, overlap, max_tile), overlap), strict=True)
    sides = {(y[1] - y[0], x[1] - x[0]) for y, x in zip(rows, columns, strict=True)}
    assert len(sides) == 1
    ((tall, wide),) = sides
    assert tall * wide <= max_tile**2
    assert len(rows) * tall * wide == least_read(*shape, overlap, max_tile)


def least_read(height, width, overlap, max_tile):
    """Returns the least area of all even divisions, each of which is tried."""
    sizes = []
    for length in (height, width):
        counts = range(1, max(length - 2 * overlap, 1) + 1)
        kept = {max(-(-(length - 2 * overlap) // count), 1) for count in counts}
        windows = [list(tiling.windows(length, tile, overlap)) for tile in kept]
        sizes.append([(len(axis), axis[0][1] - axis[0][0]) for axis in windows])
    return min(m * n * a * b for m, a in sizes[0] for n, b in sizes[1] if a * b <= max_tile**2)


@pytest.mark.parametrize("overlap", [0, 2, 7, 9, 13, 17, 18])
def test_what_is_read_is_little_more_than_the_image(overlap):
    for side in (512, 1024, 1760, 2048):
        windows = tiling.grid(side, side, tiling.fit(side, side, overlap, tiling.default_max_tile(overlap)), overlap)
        read = sum((y[1] - y[0]) * (x[1] - x[0]) for y, x in windows)
        assert read <= 1.15 * side * side


def test_half_of_a_window_is_kept_where_a_network_sees_far():
    assert [tiling.default_max_tile(overlap) for overlap in (0, 12, 17, 112, 351)] == [256, 336, 440, 448, 1404]


def test_bound_of_which_nothing_would_be_kept_is_refused():
    with pytest.raises(ValueError, match="`max_tile` must be above 14, twice the overlap. Received: 14"):
        tiling.fit(100, 100, 7, 14)


def test_fitted_result_equals_the_whole_images(network):
    from tfmisr.inference import upscalers

    lr = np.random.default_rng(0).random((61, 83, 1), dtype=np.float32)
    whole = np.asarray(network(lr[None], training=False))[0]
    tiled = upscalers.tiled(network, max_tile=50)(lr, 2)
    assert np.abs(tiled - whole).max() <= 1e-5 * max(np.abs(whole).max(), 1)


def test_fixed_and_fitted_tiles_are_not_mixed():
    from tfmisr import models
    from tfmisr.edge.errors import InputError
    from tfmisr.inference import upscalers

    network = models.create("cnn5", 2, num_filters=4)
    with pytest.raises(InputError, match="expected tile or max_tile, not both"):
        upscalers.tiled(network, 32, max_tile=64)
    with pytest.raises(InputError, match="max_tile must be above 12, twice the overlap. Received: 12"):
        upscalers.tiled(network, max_tile=12)
