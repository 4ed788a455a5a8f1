"""Color images through a network for gray ones, against the YCbCr of a textbook and of Pillow."""

import numpy as np
import pydicom
import pytest
from dicom_sources import color, us
from PIL import Image
from tiny_network import tiny_network, write_tflite

from tfmisr import dicom_check, upscale
from tfmisr.edge import images
from tfmisr.edge.errors import InputError
from tfmisr.inference import luma, upscalers

# ITU-R BT.601 as JFIF writes it, range 0 to 1, rows Y, Cb, Cr; and back.
FORWARD = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
BACK = np.array([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]])


def by_hand(rgb, luma_of, scale=2):
    """Y by `luma_of`, Cb and Cr by Pillow's bicubic resize, and back to RGB in float64."""
    y, cb, cr = np.moveaxis(rgb.astype(np.float64) @ FORWARD.T, -1, 0)
    size = (scale * rgb.shape[1], scale * rgb.shape[0])
    chroma = [Image.fromarray(plane.astype(np.float32)).resize(size, Image.Resampling.BICUBIC) for plane in (cb, cr)]
    return np.stack([luma_of(y), *map(np.asarray, chroma)], axis=-1) @ BACK.T


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return write_tflite(tmp_path_factory.mktemp("model") / "net.tflite", tiny_network())


def of_luma(network):
    gray = upscalers.load(str(network))
    return lambda y: gray(y[..., np.newaxis].astype(np.float32), 2)[..., 0]


def rgb(top, dtype):
    return np.random.default_rng(1).integers(top // 4, 3 * top // 4, (40, 36, 3)).astype(dtype)


@pytest.mark.parametrize("dtype,max_val,suffix", [(np.uint8, 255, ".png"), (np.uint16, 65535, ".tif")])
def test_luma_is_the_networks_and_chroma_is_interpolated(tmp_path, network, dtype, max_val, suffix):
    pixels = rgb(max_val, dtype)
    images.write_image(tmp_path / f"in{suffix}", pixels, max_val)
    arguments = ["--model", str(network), str(tmp_path / f"in{suffix}"), "--output", str(tmp_path / f"out{suffix}")]
    upscale.main([*arguments, "--color", "luma"])
    out = images.read_images(tmp_path / f"out{suffix}")[0]
    expected = by_hand(pixels / max_val, of_luma(network)) * max_val
    assert (out.pixels.dtype, out.max_val) == (dtype, max_val)
    # The textbook's coefficients have six digits: 1e-6 of 65535 is a tenth of a level.
    assert np.abs(out.pixels - np.clip(expected, 0, max_val)).max() < 0.5 + 0.2 * (max_val > 255) + 1e-3


def test_luma_equals_pillow_up_to_8_bit_rounding():
    pixels = rgb(255, np.uint8)
    planes = Image.fromarray(pixels).convert("YCbCr").split()
    size, kinds = (72, 80), (Image.Resampling.NEAREST, Image.Resampling.BICUBIC, Image.Resampling.BICUBIC)
    merged = Image.merge("YCbCr", [p.resize(size, kind) for p, kind in zip(planes, kinds, strict=True)])
    nearest = upscalers.Upscaler("n", lambda lr, scale: lr.repeat(scale, 0).repeat(scale, 1), channels=1)
    out = luma.luma_upscaler(nearest)(pixels.astype(np.float32) / 255, 2, 255)
    difference = np.abs(out.astype(int) - np.asarray(merged.convert("RGB"), int))
    # Pillow cuts Y, Cb and Cr down to integers, which makes red and blue 1.6 and 1.8 darker there and back.
    assert difference.max() <= 5 and difference.mean() < 1.5


def test_gray_images_do_not_change_and_models_for_color_are_refused(tmp_path, network):
    gray = np.random.default_rng(0).random((20, 24, 1), np.float32)
    model = upscalers.load(str(network))
    np.testing.assert_array_equal(luma.luma_upscaler(model)(gray, 2), model(gray, 2))
    images.write_image(tmp_path / "in.png", rgb(255, np.uint8), 255)
    with pytest.raises(InputError, match="--color luma is for models of gray images, bicubic takes color"):
        upscale.main(
            ["--model", "bicubic", str(tmp_path / "in.png"), "--output", str(tmp_path / "o.png"), "--color", "luma"]
        )


def test_refusal_gives_advice_in_the_line_of_the_file_and_frees_the_folder(tmp_path, network, capsys):
    (tmp_path / "in" / "one").mkdir(parents=True)
    images.write_image(tmp_path / "in" / "one" / "a.png", rgb(255, np.uint8), 255)
    arguments = ["--model", str(network), str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    with pytest.raises(InputError, match="1 of 1 image could not be upscaled: .*a.png"):
        upscale.main(arguments)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"failed: {tmp_path / 'in' / 'one' / 'a.png'}: net is for gray images")
    assert "--color luma" in line and "--model bicubic" in line
    assert not (tmp_path / "out").exists()
    upscale.main([*arguments, "--color", "luma"])
    assert (tmp_path / "out" / "one" / "a.png").is_file()
    with pytest.raises(InputError, match=r"results of another model: 'net \(luma\)' there, 'net' here"):
        upscale.main(arguments)


def test_color_dicom_becomes_a_derived_image_that_names_the_method(tmp_path):
    network = "fast-x2"  # one that keeps the mean, as D-31 wants it
    source = tmp_path / "in.dcm"
    us(color()).save_as(source, enforce_file_format=True)
    upscale.main(["--model", network, str(source), "--output", str(tmp_path / "out.dcm"), "--color", "luma", "--force"])
    found = pydicom.dcmread(tmp_path / "out.dcm")
    expected = np.clip(by_hand(pydicom.dcmread(source).pixel_array / 255, of_luma(network)) * 255, 0, 255)
    assert np.abs(found.pixel_array - expected).max() < 0.501
    assert "model fast-x2 (luma), weights" in found.DerivationDescription
    assert dicom_check.violations(source, tmp_path / "out.dcm") == []
    with pytest.raises(InputError, match="--color luma"):
        upscale.main(["--model", network, str(source), "--output", str(tmp_path / "b" / "out.dcm")])
    assert not (tmp_path / "b").exists()
