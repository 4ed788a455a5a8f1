"""`python -m tfmisr.upscale` on files of every bit depth, folders, and user errors."""

import errno
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tiff_writer
import tifffile
from PIL import Image
from tiny_network import tiny_network, write_tflite

from tfmisr import models, upscale
from tfmisr.edge import images
from tfmisr.edge.errors import InputError

ROOT = pathlib.Path(__file__).resolve().parent.parent


def run(*arguments):
    return upscale.main([str(a) for a in arguments])


def noise(shape, top, dtype):
    return np.random.default_rng(0).integers(0, top + 1, shape).astype(dtype)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype,max_val", [(np.uint8, 255), (np.uint16, 65535)])
def test_bit_depth_and_channels_are_kept(tmp_path, suffix, channels, dtype, max_val):
    pixels = noise((20, 24, channels), max_val, dtype)
    images.write_image(tmp_path / f"in{suffix}", pixels, max_val)
    run("--model", "bicubic", "--scale", 2, tmp_path / f"in{suffix}", "--output", tmp_path / f"out{suffix}")
    out = images.read_images(tmp_path / f"out{suffix}")[0]
    assert (out.pixels.shape, out.pixels.dtype, out.max_val) == ((40, 48, channels), dtype, max_val)


def test_8_bit_result_equals_pillow_up_to_rounding(tmp_path):
    pixels = 60 + noise((20, 24), 120, np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in.png")
    run("--model", "bicubic", "--scale", 3, tmp_path / "in.png", "--output", tmp_path / "out.png")
    expected = Image.fromarray(pixels).resize((72, 60), Image.Resampling.BICUBIC)
    difference = np.asarray(Image.open(tmp_path / "out.png"), int) - np.asarray(expected, int)
    assert np.abs(difference).max() <= 1


def test_16_bit_ramp_keeps_its_gray_levels(tmp_path):
    ramp = np.linspace(20_000, 21_000, 64).astype(np.uint16)[None, :, None].repeat(16, 0)
    images.write_image(tmp_path / "in.png", ramp, 65535)
    run("--model", "bicubic", "--scale", 4, tmp_path / "in.png", "--output", tmp_path / "out.png")
    row = images.read_images(tmp_path / "out.png")[0].pixels[32, 16:-16, 0].astype(int)
    assert (np.diff(row) > 0).all()  # 8 bits would have made steps of 257


@pytest.mark.parametrize("size", [("--tile", 16), ("--max_tile", 32), ()])
def test_network_from_a_file_is_applied_in_tiles(tmp_path, size):
    network = models.create("cnn5", 2, num_filters=4)
    network.get_layer("output_conv").set_weights([np.full((3, 3, 4, 4), 0.01, np.float32), np.zeros(4, np.float32)])
    network.save(tmp_path / "net.keras")
    pixels = noise((70, 90, 1), 65535, np.uint16)
    images.write_image(tmp_path / "in.png", pixels, 65535)
    run("--model", tmp_path / "net.keras", tmp_path / "in.png", "--output", tmp_path / "a.png", *size)
    full = np.asarray(network(pixels[None].astype(np.float32) / 65535, training=False))[0]
    expected = np.rint(np.clip(full, 0, 1) * 65535)
    out = images.read_images(tmp_path / "a.png")[0].pixels
    assert np.abs(out.astype(int) - expected).max() <= 1


def test_tflite_file_is_applied_without_tensorflow(tmp_path):
    network = tiny_network()
    write_tflite(tmp_path / "net.tflite", network)
    pixels = noise((50, 40, 1), 65535, np.uint16)
    images.write_image(tmp_path / "in.png", pixels, 65535)
    code = (
        "import sys; sys.modules['tensorflow'] = sys.modules['keras'] = None; from tfmisr import upscale; "
        "sys.exit(upscale.main(sys.argv[1:]))"
    )
    arguments = ["--model", tmp_path / "net.tflite", tmp_path / "in.png", "--output", tmp_path / "out.png"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    full = np.asarray(network(pixels[None].astype(np.float32) / 65535, training=False))[0]
    out = images.read_images(tmp_path / "out.png")[0].pixels
    assert np.abs(out.astype(int) - np.rint(np.clip(full, 0, 1) * 65535)).max() <= 1


def test_folder_keeps_its_structure_and_continues_after_a_bad_file(tmp_path, capsys):
    (tmp_path / "in" / "a").mkdir(parents=True)
    for name in ("one.png", "a/two.png"):
        images.write_image(tmp_path / "in" / name, noise((16, 16, 1), 255, np.uint8), 255)
    (tmp_path / "in" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    with pytest.raises(InputError, match="1 of 3 images could not be upscaled: .*bad.png"):
        run("--model", "nearest", "--scale", 2, tmp_path / "in", "--output", tmp_path / "out")
    written = sorted(p.relative_to(tmp_path / "out") for p in (tmp_path / "out").rglob("*.png"))
    assert written == [pathlib.Path("a/two.png"), pathlib.Path("one.png")]
    assert "failed: " in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments,message",
    [
        (("in.png", "--output", "in.png"), "would overwrite the input"),
        (("in.png", "--output", "out.jpg"), "must end in .png, .tif, .tiff, .dcm"),
        (("in.png", "other.png", "--output", "out.png"), "2 images need a folder"),
        (("in.png", "sub/in.png", "--output", "out"), "would both be written to"),
        (("missing.png", "--output", "out.png"), "missing.png, found nothing"),
        (("empty", "--output", "out"), "expected images"),
        (("in.png", "--output", "out.png", "--tile", "2"), "tile must be at least 16. Received: 2"),
        (("in.png", "--output", "out.png", "--max_tile", "2"), "max_tile must be at least 16. Received: 2"),
        (("in.png", "--output", "out.png", "--tile", "64", "--max_tile", "64"), "expected --tile or --max_tile"),
        (("in.png", "--output", "out.png", "--scale", "0"), "scale must be 2, 3, 4 or 8. Received: 0"),
        (("in.png", "--output", "out.png", "--scale", "6"), "scale must be 2, 3, 4 or 8. Received: 6"),
    ],
)
def test_user_error_is_reported_and_leaves_no_files(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    for folder in ("sub", "empty"):
        pathlib.Path(folder).mkdir()
    for name in ("in.png", "other.png", "sub/in.png"):
        images.write_image(name, noise((16, 16, 1), 255, np.uint8), 255)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError) as error:
        run("--model", "bicubic", *arguments)
    assert message in str(error.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_dicom_becomes_a_png_of_the_same_depth(tmp_path, shared_data):
    source = shared_data / "dicom" / "nema_MR1_UNC.dcm"
    run("--model", "bicubic", "--scale", 2, source, "--output", tmp_path / "out.png")
    image, out = images.read_images(source)[0], images.read_images(tmp_path / "out.png")[0]
    assert out.pixels.dtype == np.uint16
    assert out.pixels.shape[:2] == tuple(2 * side for side in image.pixels.shape[:2])


def test_image_of_one_row_is_refused_by_a_network_in_one_line(tmp_path):
    models.create("cnn5", 2, num_filters=4).save(tmp_path / "net.keras")
    images.write_image(tmp_path / "in.png", noise((1, 40, 1), 255, np.uint8), 255)
    with pytest.raises(InputError, match="at least 2x2 pixels. Received: 1x40"):
        run("--model", tmp_path / "net.keras", tmp_path / "in.png", "--output", tmp_path / "out.png")


def test_file_types_in_a_folder_are_detected_by_content(tmp_path):
    (tmp_path / "in").mkdir()
    images.write_image(tmp_path / "a.png", noise((16, 16, 1), 255, np.uint8), 255)
    (tmp_path / "a.png").rename(tmp_path / "in" / "IM0001")
    (tmp_path / "in" / "notes.txt").write_text("no image")
    run("--model", "bicubic", tmp_path / "in", "--output", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["IM0001.png", "upscale.json"]


def test_dicom_becomes_a_derived_dicom_that_the_checker_accepts(tmp_path, shared_data):
    import pydicom

    from tfmisr import dicom_check

    source = shared_data / "ct" / "lungdx_Lung_Dx-A0001_1-08.dcm"
    models.create("cnn5", 2, num_filters=4).save(tmp_path / "net.keras")
    run("--model", tmp_path / "net.keras", source, "--output", tmp_path / "out.dcm")
    assert dicom_check.main([str(source), str(tmp_path / "out.dcm")]) == 0
    before, after = pydicom.dcmread(source), pydicom.dcmread(tmp_path / "out.dcm")
    assert (after.Rows, after.Columns) == (2 * before.Rows, 2 * before.Columns)
    assert [float(v) for v in after.PixelSpacing] == pytest.approx([float(v) / 2 for v in before.PixelSpacing])
    assert "weights sha256" in after.DerivationDescription and after.SeriesDescription.endswith("SRx2 AI")


def test_png_cannot_become_a_dicom_image(tmp_path):
    images.write_image(tmp_path / "in.png", noise((16, 16, 1), 255, np.uint8), 255)
    with pytest.raises(InputError, match="in.png"):
        run("--model", "bicubic", tmp_path / "in.png", "--output", tmp_path / "out.dcm")
    assert not (tmp_path / "out.dcm").exists()


def folder_of_three(tmp_path):
    (tmp_path / "in").mkdir()
    for i in range(3):
        images.write_image(tmp_path / "in" / f"{i}.png", noise((16, 16, 1), 255, np.uint8), 255)
    return ["--model", "bicubic", "--scale", 2, tmp_path / "in", "--output", tmp_path / "out"]


def test_existing_results_in_a_folder_are_skipped(tmp_path, capsys):
    arguments = folder_of_three(tmp_path)
    run(*arguments)
    (tmp_path / "out" / "1.png").unlink()
    before = (tmp_path / "out" / "0.png").stat().st_mtime_ns
    capsys.readouterr()
    run(*arguments)
    assert "done already: 2 of 3 images" in capsys.readouterr().out
    assert (tmp_path / "out" / "1.png").exists()
    assert (tmp_path / "out" / "0.png").stat().st_mtime_ns == before
    run(*arguments, "--overwrite")
    assert (tmp_path / "out" / "0.png").stat().st_mtime_ns > before


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), MemoryError()])
def test_folder_continues_after_an_error_of_the_operating_system(tmp_path, monkeypatch, error):
    from tfmisr.inference import batch

    write = batch.BatchUpscaler._write_image

    def write_image(self, source, target, intensities, examination):
        if source.name == "1.png":
            raise error
        return write(self, source, target, intensities, examination)

    monkeypatch.setattr(batch.BatchUpscaler, "_write_image", write_image)
    with pytest.raises(InputError, match="1 of 3 images could not be upscaled: .*1.png"):
        run(*folder_of_three(tmp_path))
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["0.png", "2.png"]


def test_full_disk_stops_the_folder(tmp_path, monkeypatch):
    from tfmisr.inference import batch

    def full(self, source, target, intensities, examination):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(batch.BatchUpscaler, "_write_image", full)
    with pytest.raises(OSError, match="No space left"):
        run(*folder_of_three(tmp_path))


def test_unreadable_file_in_a_folder_is_one_failure(tmp_path, monkeypatch):
    arguments = folder_of_three(tmp_path)
    (tmp_path / "in" / "IM0001").write_bytes(b"secret")
    kind = images.detect_format

    def unreadable(path):
        if str(path).endswith("IM0001"):
            raise InputError(f"{path}: cannot be read (Permission denied)")
        return kind(path)

    monkeypatch.setattr(images, "detect_format", unreadable)
    with pytest.raises(InputError, match="1 of 4 images could not be upscaled: .*IM0001"):
        run(*arguments)
    assert len(list((tmp_path / "out").glob("*.png"))) == 3


def die(source, target):
    os._exit(3)


def test_killed_process_is_reported_in_one_line(tmp_path):
    from tfmisr.inference import batch

    with pytest.raises(InputError, match="a process died unexpectedly"):
        list(batch.upscale_all(die, [(tmp_path / "a", tmp_path / "b")] * 3, 2))


def test_folder_of_another_model_or_scale_is_refused(tmp_path):
    arguments = folder_of_three(tmp_path)
    run(*arguments)
    with pytest.raises(InputError, match="results of another scale: 2 there, 3 here"):
        run(*arguments, "--scale", 3)
    with pytest.raises(InputError, match="results of another model: 'bicubic' there, 'lanczos' here"):
        run(*arguments, "--model", "lanczos")


def test_macos_resource_forks_are_not_images(tmp_path, capsys):
    arguments = folder_of_three(tmp_path)
    (tmp_path / "in" / "__MACOSX").mkdir()
    for name in ("._0.png", "__MACOSX/._1.png", "__MACOSX/2.png", ".DS_Store", "Thumbs.db"):
        (tmp_path / "in" / name).write_bytes(b"\0\5\x16\7")
    run(*arguments)
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert sorted(p.name for p in (tmp_path / "out").rglob("*")) == ["0.png", "1.png", "2.png", "upscale.json"]


def test_bad_input_leaves_no_new_output_folder(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    with pytest.raises(InputError, match="bad.png"):
        run("--model", "bicubic", tmp_path / "bad.png", "--output", tmp_path / "new" / "out.png")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.png"]


@pytest.mark.skipif(os.name == "nt", reason="process groups of POSIX")
def test_ctrl_c_with_several_processes_stops_at_once_and_leaves_no_partial_files(tmp_path):
    (tmp_path / "in").mkdir()
    for i in range(4):
        images.write_image(tmp_path / "in" / f"{i}.png", noise((1500, 1500, 1), 255, np.uint8), 255)
    command = [sys.executable, "-m", "tfmisr.upscale", "--model", "best-x2", tmp_path / "in", "--output"]
    command += [tmp_path / "out", "--processes", "2", "--force"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not (tmp_path / "out" / "upscale.json").exists() and process.poll() is None:
        time.sleep(0.05)
    time.sleep(2)  # the processes begin, or are busy
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    begin = time.monotonic()
    out, err = process.communicate()
    assert time.monotonic() - begin < 2
    assert process.returncode == 130
    assert [line.partition(";")[0] for line in err.splitlines() if "upscaling" not in line] == ["error: interrupted"]
    written = {path.name for path in (tmp_path / "out").iterdir()} - {"upscale.json"}
    assert written == {line.rpartition("/")[2].partition(" ")[0] for line in out.splitlines()}


def test_results_below_their_sources_are_not_sources(tmp_path):
    folder_of_three(tmp_path)
    for _ in range(2):
        run("--model", "bicubic", tmp_path / "in", "--output", tmp_path / "in" / "out", "--overwrite")
    assert len(list((tmp_path / "in" / "out").rglob("*.png"))) == 3


def test_several_processes_give_the_same_files(tmp_path):
    arguments = folder_of_three(tmp_path)
    run(*arguments)
    run(*arguments[:-1], tmp_path / "two", "--processes", 2)
    for i in range(3):
        assert (tmp_path / "two" / f"{i}.png").read_bytes() == (tmp_path / "out" / f"{i}.png").read_bytes()


def test_different_tile_gives_a_different_sop_instance_uid(tmp_path, shared_data):
    import pydicom

    source = shared_data / "ct" / "lungdx_Lung_Dx-A0001_1-08.dcm"
    found = []
    for i, tile in enumerate(((), ("--tile", 64), ("--tile", 64), ("--max_tile", 64))):
        run("--model", "bicubic", "--scale", 2, source, "--output", tmp_path / f"{i}.dcm", *tile)
        found.append(pydicom.dcmread(tmp_path / f"{i}.dcm", stop_before_pixels=True).SOPInstanceUID)
    assert found[0] != found[1] == found[2]
    assert found[3] not in found[:3]


def test_slices_of_a_folder_share_a_series_date_after_an_interruption(tmp_path, shared_data):
    import shutil

    import pydicom

    (tmp_path / "in").mkdir()
    for name in ("lungdx_Lung_Dx-A0001_1-08.dcm", "lungdx_Lung_Dx-A0001_1-18.dcm"):
        shutil.copy(shared_data / "ct" / name, tmp_path / "in" / name.removesuffix(".dcm"))
    arguments = ("--model", "bicubic", "--scale", 2, tmp_path / "in", "--output", tmp_path / "out")
    run(*arguments)
    first = sorted((tmp_path / "out").glob("*.dcm"))
    assert [path.name for path in first] == ["lungdx_Lung_Dx-A0001_1-08.dcm", "lungdx_Lung_Dx-A0001_1-18.dcm"]
    first[0].unlink()
    run(*arguments)
    found = [pydicom.dcmread(path) for path in first]
    assert found[0].SeriesInstanceUID == found[1].SeriesInstanceUID
    assert (found[0].SeriesDate, found[0].SeriesTime) == (found[1].SeriesDate, found[1].SeriesTime)
    created = [float(ds.InstanceCreationTime) for ds in found]
    assert created[0] != created[1]  # each has its own, which is not that of the series
    assert all(time != float(found[0].SeriesTime) for time in created)


def signed_pages():
    ramp = np.linspace(-22922, 29481, 20 * 24).reshape(20, 24).astype(np.int16)
    return [ramp, ramp[::-1], np.zeros((8, 9), np.int16)]


def nearest(page):
    return page.repeat(2, 0).repeat(2, 1)


@pytest.mark.parametrize("output", ["out.tif", "out"])
def test_signed_multi_page_tiff_keeps_its_type(tmp_path, capsys, output):
    with tifffile.TiffWriter(tmp_path / "in.tif") as writer:
        for page in signed_pages():
            writer.write(page)
    source = tmp_path / "in.tif" if output == "out.tif" else tmp_path
    run("--model", "nearest", "--scale", 2, source, "--output", tmp_path / output)
    with tifffile.TiffFile(tmp_path / (output if output == "out.tif" else "out/in.tif")) as file:
        assert len(file.pages) == 3
        for page, lr in zip(file.pages, signed_pages(), strict=True):
            assert page.dtype == np.int16
            np.testing.assert_array_equal(page.asarray(), nearest(lr))
    if output == "out.tif":
        assert "(48x40, 3 pages" in capsys.readouterr().out


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_signed_tiff_to_png_reports_the_offset(tmp_path, capsys, dtype):
    lr = np.array([[-100, 0], [7, 100]], dtype)
    tifffile.imwrite(tmp_path / "in.tif", lr)
    run("--model", "nearest", "--scale", 2, tmp_path / "in.tif", "--output", tmp_path / "out.png")
    assert "values shifted by +100: PNG holds no negative values" in capsys.readouterr().out
    out = images.read_images(tmp_path / "out.png")[0].pixels
    assert out.dtype == f"u{lr.itemsize}"
    np.testing.assert_array_equal(out[..., 0].astype(int) - 100, nearest(lr))


def test_no_offset_is_reported_without_one(tmp_path, capsys):
    tifffile.imwrite(tmp_path / "in.tif", np.array([[3, 1000]], np.int16))
    run("--model", "nearest", "--scale", 2, tmp_path / "in.tif", "--output", tmp_path / "out.png")
    assert "shifted" not in capsys.readouterr().out
    run("--model", "nearest", "--scale", 2, tmp_path / "in.tif", "--output", tmp_path / "out.tif")
    assert tifffile.imread(tmp_path / "out.tif").dtype == np.int16


def test_several_pages_to_png_are_refused_with_advice_that_works(tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", np.zeros((3, 8, 9), np.uint8), photometric="minisblack")
    advice = "in.tif holds 3 images and .png one; name a .tif file as --output, or a folder, where TIFF stays TIFF"
    with pytest.raises(InputError, match=advice):
        run("--model", "nearest", tmp_path / "in.tif", "--output", tmp_path / "out.png")
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]
    run("--model", "nearest", tmp_path / "in.tif", "--output", tmp_path / "out.tif")


def test_frames_of_dicom_become_pages_of_tiff(tmp_path, shared_data):
    source = shared_data / "dicom" / "cs_US_RGB_8frames.dcm"
    arguments = ["--model", "nearest", "--scale", 2, source, "--output"]
    with pytest.raises(InputError, match="8 images and .png one; name a .dcm or .tif file as --output, or a folder"):
        run(*arguments, tmp_path / "out.png")
    run(*arguments, tmp_path / "out.tif")
    frames = [image.pixels for image in images.iter_images(source)]
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif")[:, ::2, ::2], frames)


def test_page_that_fails_leaves_no_file(tmp_path):
    # The second page is cut off, and the first is written by then.
    tiff_writer.write(tmp_path / "in.tif", *[tiff_writer.page(noise((8, 9, 1), 255, np.uint8), 8, 1)] * 2)
    content = (tmp_path / "in.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "in.tif") as file:
        place = file.pages[1].tags[279].offset + 8
    content = content[:place] + (10).to_bytes(4, "little") + content[place + 4 :]
    (tmp_path / "in.tif").write_bytes(content)
    with pytest.raises(InputError, match="broken or truncated"):
        run("--model", "nearest", tmp_path / "in.tif", "--output", tmp_path / "out.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]


def test_16_bits_of_low_values_stay_16_bits(tmp_path):
    for suffix in (".png", ".tif"):
        images.write_image(tmp_path / f"in{suffix}", np.full((4, 4, 1), 9, np.uint16), 255)
        run("--model", "nearest", tmp_path / f"in{suffix}", "--output", tmp_path / f"out{suffix}")
        assert images.read_images(tmp_path / f"out{suffix}")[0].pixels.dtype == np.uint16
