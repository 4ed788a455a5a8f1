import itertools
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tfmisr.evaluation import crops, montage, table

PROTOCOL = {
    "dataset": "chest_phantom",
    "split": "test",
    "images": 12,
    "images_sha256": "00ff00ff00ff00ff",
    "scale": 4,
    "degradation": "Bicubic(scale=4) rounded",
    "crop_border": 4,
    "centre_fraction": 0.625,
    "hash": "0123456789ab",
}
BICUBIC = {"psnr": 35.84, "psnr_low": 34.9, "psnr_high": 36.81, "ssim": 0.9427, "haarpsi": 0.81, "parameters": 0}
BICUBIC |= {"psnr_gain": 0.0, "psnr_gain_low": 0.0, "psnr_gain_high": 0.0, "psnr_centre": 40.0}
NETWORK = {"psnr": 38.1, "psnr_low": 37.0, "psnr_high": 39.2, "ssim": 0.94268, "haarpsi": 0.8, "parameters": 1234567}
NETWORK |= {"psnr_gain": 2.26, "psnr_gain_low": 2.0, "psnr_gain_high": 2.5, "psnr_center": 39.2, "ms_ssim": None}


def metrics_of(**models):
    return {"protocol": PROTOCOL, "models": models}


def test_protocol_of_one_image_has_no_plural():
    assert ", split test, 1 image (hash" in table.caption({**PROTOCOL, "images": 1}, {})


def cells(markdown):
    """Returns {title: cells} of the Markdown table."""
    lines = [line for line in markdown.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return dict(zip(rows[0], zip(*rows[2:], strict=True), strict=True))


def test_table_has_the_columns_in_order():
    assert list(cells(table.markdown_table(metrics_of(bicubic=BICUBIC, net=NETWORK)))) == [
        "model",
        "parameters",
        "PSNR [dB] (95 % interval)",
        "gain over bicubic [dB] (95 % interval)",
        "SSIM",
        "PSNR center [dB]",
        "MS-SSIM",
        "HaarPSI",
    ]  # neither model was asked for the others


def test_console_has_no_column_that_was_not_asked_for():
    assert table.console_table(metrics_of(net={"psnr": 38.1})).splitlines()[0].split() == ["model", "PSNR", "[dB]"]


def test_table_keeps_the_order_of_models():
    shown = cells(table.markdown_table(metrics_of(zoom=NETWORK, bicubic=BICUBIC, a=NETWORK)))
    assert shown["model"] == ("zoom", "bicubic", "a")


def test_best_value_of_each_column_is_bold():
    shown = cells(table.markdown_table(metrics_of(bicubic=BICUBIC, net=NETWORK)))
    assert shown["PSNR [dB] (95 % interval)"] == ("35.84 (34.90 to 36.81)", "**38.10** (37.00 to 39.20)")
    assert shown["PSNR center [dB]"] == ("**40.00**", "39.20")
    assert shown["HaarPSI"] == ("**0.8100**", "0.8000")


def test_values_that_read_the_same_are_both_best():
    shown = cells(table.markdown_table(metrics_of(bicubic=BICUBIC, net=NETWORK)))
    assert shown["SSIM"] == ("**0.9427**", "**0.9427**")


def test_a_single_model_is_not_the_best():
    assert "**" not in table.markdown_table(metrics_of(bicubic=BICUBIC))


@pytest.mark.parametrize("missing", [{}, {"ms_ssim": None}, {"ms_ssim": float("nan")}])
def test_what_is_missing_is_a_dash(missing):
    shown = cells(table.markdown_table(metrics_of(bicubic=BICUBIC | missing, net=NETWORK)))
    assert shown["MS-SSIM"] == ("-", "-")


def test_nan_is_never_the_best():
    worse = BICUBIC | {"ssim": float("nan")}
    assert cells(table.markdown_table(metrics_of(a=worse, b=NETWORK)))["SSIM"] == ("-", "**0.9427**")


def test_infinite_psnr_is_the_best():
    shown = cells(table.markdown_table(metrics_of(a=NETWORK, b={"psnr": float("inf")})))
    assert shown["PSNR [dB] (95 % interval)"] == ("38.10 (37.00 to 39.20)", "**inf**")


def test_interval_without_ends_is_left_out():
    alone = NETWORK | {"psnr_low": None, "psnr_high": float("nan")}
    shown = cells(table.markdown_table(metrics_of(net=alone)))
    assert shown["PSNR [dB] (95 % interval)"] == ("38.10",)


def test_gain_carries_its_sign():
    worse = NETWORK | {"psnr_gain": -0.5, "psnr_gain_low": -1.0, "psnr_gain_high": 0.25}
    shown = cells(table.markdown_table(metrics_of(bicubic=BICUBIC, net=worse)))
    assert shown["gain over bicubic [dB] (95 % interval)"] == ("**+0.00**", "-0.50 (-1.00 to +0.25)")


def test_zero_has_no_minus_sign():
    assert "-0.00" not in table.markdown_table(metrics_of(net=NETWORK | {"psnr_gain": -0.001}))


def test_interpolation_has_no_parameters_and_a_network_has_thousands():
    shown = cells(table.markdown_table(metrics_of(bicubic=BICUBIC, net=NETWORK)))
    assert shown["parameters"] == ("-", "1,234,567")


def test_pipe_in_a_name_does_not_break_the_row():
    assert "| a\\|b | " in table.markdown_table(metrics_of(**{"a|b": NETWORK}))


def test_medical_haarpsi_has_a_column_where_it_was_measured():
    shown = cells(table.markdown_table(metrics_of(bicubic=BICUBIC, net=NETWORK | {"haarpsi_med": 0.7})))
    assert shown["HaarPSI_MED"] == ("-", "**0.7000**")


def test_least_is_bold_where_less_is_better_and_nothing_where_neither_is():
    further = {"gmsd": 0.1, "fid": 12.0, "sharpness": 0.8, "noise": 2.0, "noise_hr": 2.345}
    other = {"gmsd": 0.2, "fid": 9.5, "sharpness": 1.2, "noise": 3.0, "noise_hr": 2.345}
    shown = cells(table.markdown_table(metrics_of(bicubic=BICUBIC | further, net=NETWORK | other)))
    assert shown["GMSD (less is better)"] == ("**0.1000**", "0.2000")
    assert shown["FID (less is better)"] == ("12.000", "**9.500**")
    assert shown["sharpness (HR 1)"] == ("0.800", "1.200")
    assert shown["noise (HR 2.35)"] == ("2.00", "3.00")


def test_caption_names_the_protocol_and_its_hash():
    caption = table.markdown_table(metrics_of(net=NETWORK | {"psnr_low": 1.0})).splitlines()[-1]
    for words in ("`0123456789ab`", "chest_phantom", "split test", "12 images", "x4", "4 pixels", "62.5%", "bootstrap"):
        assert words in caption
    assert "LR by Bicubic(scale=4) rounded" in caption


def test_caption_repeats_what_it_does_not_know():
    metrics = {"protocol": {"hash": "ab", "colour": "luma"}, "models": {"net": NETWORK}}
    assert "colour luma" in table.markdown_table(metrics)


def test_console_table_lines_up_within_100_columns():
    names = ["bicubic", "a_run_with_a_name_that_tells_everything_about_its_learning_rate_and_depth", "x"]
    high = NETWORK | {"psnr": 100.0, "psnr_low": 100.0, "psnr_high": 100.5}
    lines = table.console_table(metrics_of(**dict.fromkeys(names, high))).splitlines()
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    assert len(lines[0]) <= 100
    assert lines[2].startswith("a_run_with_") and "_and_depth " in lines[2]


def test_console_table_shows_gain_and_center():
    head, _bicubic, net = table.console_table(metrics_of(bicubic=BICUBIC, net=NETWORK)).splitlines()
    assert head.split() == ["model", "PSNR", "[dB]", "gain", "[dB]", "SSIM", "center", "[dB]"]
    assert net.split()[-5:] == ["(+2.00", "to", "+2.50)", "0.9427", "39.20"]


def example(side=128, scale=4, channels=1, dtype=np.uint8, methods=("bicubic", "net")):
    """Returns images for a montage: noise as reference, and methods with growing error."""
    rng = np.random.default_rng(0)
    max_val = np.iinfo(dtype).max
    hr = rng.integers(max_val // 4, max_val // 2, (side, side, channels)).astype(dtype)
    images = {"LR": hr[::scale, ::scale]}
    for i, name in enumerate(methods):
        images[name] = (hr + (i + 1) * (max_val // 64)).astype(dtype)
    return {**images, "HR": hr}, max_val


def axes_of(figure, kind):
    return [axes for axes in figure.axes if axes.get_label().startswith(f"{kind} ")]


def test_first_crop_finds_the_largest_error_and_the_second_the_detail_of_the_center():
    error = np.full((256, 256), 1.0)
    error[24:28, 200:208] = 5000  # letters
    error[180:188, 60:68] = 900  # a wire over the anatomy
    error[112:160, 96:144] = 9  # texture
    first, second = crops.choose_crops(error, 32, 4, 2, "net")
    assert first.top <= 24 and first.top + 32 >= 28 and first.left <= 200 and first.left + 32 >= 208
    assert (second.top, second.left) == (112, 96)
    assert [crop.reason for crop in (first, second)] == ["largest error of net", "most detail within the center"]


def test_single_crop_is_in_the_central_part():
    error = np.ones((256, 256))
    error[24:28, 200:208] = 5000
    (crop,) = crops.choose_crops(error, 32, 4, 1)
    assert 48 <= crop.top <= 208 - 32 and 48 <= crop.left <= 208 - 32


def test_error_at_the_outer_border_is_not_interesting():
    error = np.ones((256, 256))
    error[:4] = 9000
    error[100:104, 30:34] = 50
    first = crops.choose_crops(error, 32, 4, 2)[0]
    assert first.top <= 100 <= first.top + 28 and first.left <= 30 <= first.left + 28


def test_crops_hold_whole_lr_pixels_and_do_not_overlap():
    error = np.random.default_rng(1).random((96, 150)) ** 8
    chosen = crops.choose_crops(error, 24, 3, 5)
    assert len(chosen) >= 3
    assert all(crop.top % 3 == 0 and crop.left % 3 == 0 for crop in chosen)
    covered = np.zeros_like(error)
    for crop in chosen:
        crop.of(covered)[...] += 1
    assert covered.max() == 1


def test_crops_that_do_not_fit_are_left_out():
    assert len(crops.choose_crops(np.ones((64, 64)), 40, 4, 3)) == 1


def test_crop_of_the_lr_image_is_the_same_place():
    place = np.arange(64)[:, None] * 1000 + np.arange(64)
    crop = crops.Crop(top=24, left=8, size=16)
    np.testing.assert_array_equal(crop.of(place[::4, ::4], 4), crop.of(place)[::4, ::4])


def test_every_crop_shows_all_images_and_every_method_an_error_map():
    images, max_val = example()
    figure = montage.montage(images, max_val)
    shown = [axes.get_label() for axes in axes_of(figure, "crop")]
    assert sorted(shown) == sorted(f"crop {i} {name}" for i in (0, 1) for name in images)
    shown = [axes.get_label() for axes in axes_of(figure, "error")]
    assert sorted(shown) == sorted(f"error {i} {name}" for i in (0, 1) for name in ("bicubic", "net"))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_numbers_of_an_error_scale_stand_apart(dtype):
    images, max_val = example(dtype=dtype, methods=[f"method{i}" for i in range(5)])
    figure = montage.montage(images, max_val)
    figure.canvas.draw()
    for axes in axes_of(figure, "color bar"):
        boxes = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
        low, high = axes.get_xlim()
        inside = [box for box, tick in zip(boxes, axes.get_xticks(), strict=True) if low <= tick <= high]
        assert len(inside) >= 2 and all(b.x0 - a.x1 >= 4 for a, b in itertools.pairwise(inside))


def test_reason_of_a_crop_names_whose_error_it_is():
    images, max_val = example(methods=["net"])
    texts = "".join(text.get_text() for text in montage.montage(images, max_val).texts)
    assert "largest error of net" in texts and "bicubic" not in texts


def test_error_maps_of_a_crop_share_one_color_scale_with_its_bar():
    images, max_val = example()
    images["net"][40:80, 40:80] += 6  # the second crop is in the center
    figure = montage.montage(images, max_val)
    # `net` misses by 2 * (255 // 64) = 6 gray levels everywhere, there by 12.
    for i, top in enumerate((6, 12)):
        norms = {id(axes.images[0].norm): axes.images[0].norm for axes in axes_of(figure, f"error {i}")}
        (norm,) = norms.values()
        assert (norm.vmin, norm.vmax) == (0, top)
        (bar,) = (axes for axes in figure.axes if axes.get_label() == f"color bar {i}")
        assert bar.get_xlim() == (0, top)


def test_error_map_is_the_absolute_difference():
    images, max_val = example(methods=("bicubic",))
    images["bicubic"] = images["HR"] - 5
    shown = axes_of(montage.montage(images, max_val), "error")[0].images[0].get_array()
    np.testing.assert_array_equal(shown, 5)


def test_images_of_a_crop_share_one_grey_scale():
    images, max_val = example(methods=("bicubic", "twin"))
    images["bicubic"] = images["HR"] + 10
    images["twin"] = images["HR"]
    crops = {axes.get_label(): axes.images[0].get_array() for axes in axes_of(montage.montage(images, max_val), "crop")}
    np.testing.assert_array_equal(crops["crop 0 twin"], crops["crop 0 HR"])
    inside = (crops["crop 0 bicubic"] < 1) & (crops["crop 0 HR"] > 0)
    brighter = (crops["crop 0 bicubic"] - crops["crop 0 HR"])[inside]
    np.testing.assert_allclose(brighter, brighter[0], rtol=1e-9)
    assert brighter[0] > 0


def test_pixels_are_drawn_as_equal_squares():
    images, max_val = example(side=256)
    figure = montage.montage(images, max_val, crops=1)
    figure.canvas.draw()
    drawn = np.asarray(figure.canvas.buffer_rgba())[..., 0]
    for axes in axes_of(figure, "crop"):
        pixels = axes.images[0].get_array()
        left, bottom, width, height = (round(v) for v in axes.get_window_extent().bounds)
        zoom = width // pixels.shape[1]
        assert width == zoom * pixels.shape[1] and height == zoom * pixels.shape[0]
        cell = drawn[drawn.shape[0] - bottom - height :][:height, left : left + width]
        # The frame covers the outermost pixels.
        blocks = cell.reshape(pixels.shape[0], zoom, -1, zoom)[1:-1, :, 1:-1]
        np.testing.assert_array_equal(blocks.min((1, 3)), blocks.max((1, 3)))
        np.testing.assert_allclose(blocks[:, 0, :, 0], pixels[1:-1, 1:-1] * 255, atol=1)


def test_scores_and_those_of_the_crops_are_written():
    images, max_val = example(methods=("bicubic",))
    images["bicubic"] = images["HR"] + 4
    scores = {"bicubic": {"psnr": 41.128, "ssim": 0.98765}}
    figure = montage.montage(images, max_val, scores=scores, title="Case 7")
    texts = [text.get_text() for text in figure.texts]
    assert "Case 7" in texts
    assert "41.13 dB  0.9877" in texts
    # An offset of 4 in 255, as in test_metrics.
    assert sum(text.startswith("36.09 dB") for text in texts) == 2


def test_score_without_ssim_is_psnr_alone():
    images, max_val = example(methods=("bicubic",))
    figure = montage.montage(images, max_val, scores={"bicubic": {"psnr": 41.128, "ssim": None}})
    assert "41.13 dB" in [text.get_text() for text in figure.texts]


@pytest.mark.parametrize("count, bands", [(1, 1), (6, 1), (7, 2), (13, 3)])
def test_many_methods_wrap_and_each_is_shown_once_within_1600_dots(count, bands):
    images, max_val = example(methods=[f"method{i}" for i in range(count)])
    figure = montage.montage(images, max_val, crops=1)
    labels = [axes.get_label() for axes in axes_of(figure, "crop")]
    assert labels.count("crop 0 HR") == labels.count("crop 0 LR") == bands
    assert all(labels.count(f"crop 0 method{i}") == 1 for i in range(count))
    assert figure.get_size_inches()[0] * figure.dpi <= 1600


@pytest.mark.parametrize(
    "name", ["a_model_with_quite_a_long_name_", "without-any-run-" * 6, "ASINGLEWORDWITHOUTANYSIGN" * 3]
)
def test_long_names_are_whole_and_panels_and_texts_stay_inside_and_apart(name):
    names = [f"{name}{i}" for i in range(6)]
    images, max_val = example(methods=names)
    scores = {name: {"psnr": 38.88, "ssim": 0.9888} for name in names}
    title, caption = "long " * 60, "median case of 57 by PSNR gain of " + names[-1]
    figure = montage.montage(images, max_val, scores=scores, title=title, caption=caption)
    figure.canvas.draw()
    shown = "".join(text.get_text() for text in figure.texts).replace(" ", "")
    assert all(each.replace(" ", "") in shown for each in (*names, title, caption))
    boxes = [text.get_window_extent() for text in figure.texts if text.get_text()]
    boxes += [axes.get_window_extent() for axes in figure.axes]
    width, height = figure.get_size_inches() * figure.dpi
    assert all(b.x0 >= 0 and b.y0 >= 0 and b.x1 <= width and b.y1 <= height for b in boxes)
    overlaps = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
    assert not overlaps


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("channels, dtype", [(1, np.uint16), (3, np.uint8), (3, np.uint16)])
def test_small_16_bit_and_color_images_have_two_crops(scale, channels, dtype):
    images, max_val = example(side=64 // scale * scale, scale=scale, channels=channels, dtype=dtype)
    figure = montage.montage(images, max_val)
    assert len(axes_of(figure, "crop")) == 2 * len(images)
    assert axes_of(figure, "crop")[0].images[0].get_array().ndim == (2 if channels == 1 else 3)


def test_flat_and_equal_images_can_be_shown():
    flat = np.full((64, 64), 7, np.uint8)
    figure = montage.montage({"LR": flat[::2, ::2], "bicubic": flat, "HR": flat}, 255)
    figure.canvas.draw()
    assert "inf dB  1.0000" in [text.get_text() for text in figure.texts]


@pytest.mark.parametrize("names", [("LR", "HR"), ("bicubic", "LR", "HR"), ("LR", "HR", "bicubic")])
def test_images_out_of_order_are_refused(names):
    with pytest.raises(ValueError, match="LR, at least one method, and HR"):
        montage.montage(dict.fromkeys(names, np.zeros((64, 64))), 255)


def test_method_of_another_size_is_refused():
    images, max_val = example()
    images["net"] = images["net"][:-4]
    with pytest.raises(ValueError, match="one shape"):
        montage.montage(images, max_val)


def test_saved_montage_is_a_png_of_the_figure_and_nothing_else(tmp_path):
    images, max_val = example()
    montage.save_montage(tmp_path / "montage.png", images, max_val, crops=1, title="Case 7")
    size = montage.montage(images, max_val, crops=1, title="Case 7").canvas.get_width_height()
    with Image.open(tmp_path / "montage.png") as picture:
        assert (picture.format, picture.size) == ("PNG", size)
    assert [path.name for path in tmp_path.iterdir()] == ["montage.png"]


def test_failed_montage_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "montage.png"
    path.write_bytes(b"old")
    images, max_val = example()

    def broken(self, target, **kwargs):
        target.write_bytes(b"half")
        raise OSError("no space")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", broken)
    with pytest.raises(OSError, match="no space"):
        montage.save_montage(path, images, max_val)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["montage.png"]


def test_same_images_give_the_same_file(tmp_path):
    images, max_val = example()
    for name in ("a.png", "b.png"):
        montage.save_montage(tmp_path / name, images, max_val)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_montage_does_without_pyplot():
    code = "import sys, tfmisr.evaluation.montage; sys.exit('matplotlib.pyplot' in sys.modules)"
    root = pathlib.Path(__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
