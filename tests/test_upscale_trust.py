"""`python -m tfmisr.upscale` with half-widths, applicability and reports (T-15, T-31, T-50)."""

import collections
import csv
import dataclasses
import hashlib
import json
import math
import pathlib
import re
import shutil
import tempfile
import tracemalloc

import numpy as np
import png
import pydicom
import pytest
import tifffile
from dicom_sources import cr, ct, xa
from PIL import Image
from tiny_network import picture
from trust_doubles import IN_SCOPE, OUT_OF_SCOPE, UNUSUAL, ConstantHead, calibrated

import tfmisr
from tfmisr import upscale
from tfmisr.cluster import stores
from tfmisr.edge import card, half_width_files, image_writing, images, report_measures, text
from tfmisr.edge.applicability import Verdict
from tfmisr.edge.errors import InputError
from tfmisr.edge.report import Report, Table
from tfmisr.inference import archive, batch, cluster_jobs, trust_flags
from tfmisr.inference.half_width_frames import HalfWidthFrames

SIZE = (40, 44)


def run(model, *arguments):
    return upscale.main(["--model", str(model), *map(str, arguments)])


def write_png(path, seed=0, full=255):
    pixels = np.rint(full * picture(*SIZE, seed=seed)).astype(np.uint8 if full == 255 else np.uint16)
    images.write_image(path, pixels, full)
    return path


def write_dicom(path, ds):
    ds.save_as(path, enforce_file_format=True)
    return path


def text_chunks(path):
    chunks = png.Reader(bytes=path.read_bytes()).chunks()
    return dict(data.split(b"\0", 1) for kind, data in chunks if kind == b"tEXt")


# -- Half-widths ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("full,step", [(255, 1 / 256), (4095, 1 / 16), (65535, 1.0)])
def test_half_width_png_holds_rounded_up_steps_of_a_power_of_two(tmp_path, monkeypatch, full, step):
    # T-15: 0.012 of 255 is 3.06 levels, 783.36 steps of 1 / 256.
    model, source = calibrated(tmp_path, monkeypatch), write_png(tmp_path / "in.png", full=full)
    run(model, source, "--output", tmp_path / "out.png", "--uncertainty", tmp_path / "w.png")
    found = images.read_images(tmp_path / "w.png")[0]
    assert found.pixels.dtype == np.uint16 and found.pixels.shape == (80, 88, 1)
    assert found.pixels[20, 20, 0] == math.ceil(0.012 * full / step)
    assert found.pixels[3, 3, 0] == math.ceil(0.024 * full / step)
    assert found.max_val == full / step
    note = text_chunks(tmp_path / "w.png")[b"unit"].decode()
    assert note.startswith(f"half-width in units of {step:.17g} gray levels, rounded up. For a new patient like the 57")


def test_half_width_tiff_and_array(tmp_path, monkeypatch):
    # T-15
    model, source = calibrated(tmp_path, monkeypatch), write_png(tmp_path / "in.png")
    for name in ("w.tif", "w.npy"):
        run(model, source, "--output", tmp_path / "out.png", "--uncertainty", tmp_path / name)
    with tifffile.TiffFile(tmp_path / "w.tif") as file:
        assert file.pages[0].description.startswith("max_val=65280\nunit=half-width in units of 0.00390625 gray levels")
    assert images.read_images(tmp_path / "w.tif")[0].max_val == 65280
    assert images.read_images(tmp_path / "w.tif")[0].pixels[20, 20, 0] == 784
    array = np.load(tmp_path / "w.npy")
    assert array.dtype == np.float32 and array.shape == (80, 88)
    np.testing.assert_allclose(array[20:, 20:], 3.06, rtol=1e-6)


def test_rounding_never_makes_an_interval_narrower():
    # T-15
    w = np.random.default_rng(0).random((50, 50, 1), np.float32) * 300
    for full in (255, 1023, 65535):
        stored = half_width_files.rounded_up(w, full).astype(np.float64) * half_width_files.step(full)
        assert (stored >= np.minimum(w, full)).all()
        assert (stored - np.minimum(w, full)).max() < half_width_files.step(full) + 1e-6


def test_pages_of_a_tiff_have_pages_of_half_widths(tmp_path, monkeypatch):
    model = calibrated(tmp_path, monkeypatch)
    pages = [np.rint(255 * picture(*SIZE, seed=seed)).astype(np.uint8) for seed in (0, 1, 2)]
    images.write_images(tmp_path / "in.tif", pages, 255, 3)
    run(model, tmp_path / "in.tif", "--output", tmp_path / "out.tif", "--uncertainty", tmp_path / "w.tif")
    found = images.read_images(tmp_path / "w.tif")
    assert [page.pixels[20, 20, 0] for page in found] == [784] * 3


def test_array_takes_no_more_of_the_disk_than_is_written(tmp_path):
    # A file of its full length from the start has holes; written to by a mapping on a full disk, they end the process.
    sizes = []

    def frames():
        for value in range(3):
            sizes.append(sum(path.stat().st_size for path in tmp_path.iterdir()))
            yield np.full((64, 64, 1), value, np.float32)

    half_width_files.write(tmp_path / "w.npy", frames(), 3, 255, "gray levels", "")
    assert sizes[0] == 0 and sizes[2] <= 128 + 2 * 64 * 64 * 4
    assert (np.load(tmp_path / "w.npy") == np.arange(3, dtype=np.float32)[:, None, None]).all()


def test_level_that_is_not_calibrated_is_refused_and_nothing_is_written(tmp_path, monkeypatch):
    # T-15
    model, source = calibrated(tmp_path, monkeypatch), write_png(tmp_path / "in.png")
    before = sorted(tmp_path.iterdir())
    flags = ("--output", tmp_path / "out.png", "--uncertainty", tmp_path / "w.png")
    with pytest.raises(InputError, match=r"calibrated levels 0.1, 0.32. Received: 0.05"):
        run(model, source, *flags, "--uncertainty_level", 0.05)
    bare = tmp_path / "bare.tflite"
    bare.write_bytes(card.replace(model.read_bytes(), card.read(model) | {"uncertainty": None}))
    before.append(bare)
    with pytest.raises(InputError, match="no half-width of bare: its card has no calibrated uncertainty"):
        run(bare, source, *flags)
    with pytest.raises(InputError, match="no half-width of bicubic"):
        run("bicubic", source, *flags)
    with pytest.raises(InputError, match=r"without self-ensemble \(\+\)"):
        run(f"{model}+", source, *flags)
    with pytest.raises(InputError, match="no-consistency"):
        run(model, source, *flags, "--no-consistency")
    assert sorted(tmp_path.iterdir()) == sorted(before)


@pytest.mark.parametrize(
    "flags,message",
    [
        (("--output", "a.png", "--uncertainty", "w.jpg"), "--uncertainty must end in .png, .tif, .tiff, .npy, .dcm"),
        (("--output", "a.png", "--uncertainty", "w.dcm"), "needs an --output in DICOM"),
        (("--output", "a.png", "--uncertainty", "a.png"), "another path for --uncertainty"),
        (("--output", "a.png", "--report", "a.csv"), "must end in .json or .html (for one image)"),
        (("--output", "a", "--report", "a.html"), "must end in .csv (for several images a table)"),
        (("--output", "a", "--uncertainty", "w.png"), "need a folder as --uncertainty"),
        (("--output", "a.png", "--uncertainty", "w.png", "--uncertainty_level", "1"), "between 0 and 1. Received: 1.0"),
    ],
)
def test_paths_that_do_not_fit_are_refused(tmp_path, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    write_png(tmp_path / "in.png")
    with pytest.raises(InputError) as error:
        run("bicubic", "in.png", *flags)
    assert message in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in.png"]


def test_map_that_cannot_be_written_leaves_no_result(tmp_path, monkeypatch):
    model, source = calibrated(tmp_path, monkeypatch), write_png(tmp_path / "in.png")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(half_width_files, "write", full)
    with pytest.raises(OSError, match="No space left"):
        run(model, source, "--output", tmp_path / "out.png", "--uncertainty", tmp_path / "w.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.png", "model.tflite"]


def test_report_that_cannot_be_written_leaves_no_result_and_no_map(tmp_path, monkeypatch):
    model, source = calibrated(tmp_path, monkeypatch), write_png(tmp_path / "in.png")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Report, "write", full)
    flags = ("--output", tmp_path / "out.png", "--uncertainty", tmp_path / "w.png", "--report", tmp_path / "r.html")
    with pytest.raises(OSError, match="No space left"):
        run(model, source, *flags)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.png", "model.tflite"]


@pytest.mark.parametrize("name", ["out.png", "w.png"])
def test_error_of_a_full_disk_names_the_file_and_not_its_temporary_one(tmp_path, monkeypatch, name):
    model, source = calibrated(tmp_path, monkeypatch), write_png(tmp_path / "in.png")
    write_images = image_writing.write_images

    def full(path, *arguments):
        write_images(path, *arguments)
        if len(written) == ["out.png", "w.png"].index(name):
            raise OSError(28, "No space left on device", str(path))
        written.append(path)

    written = []
    monkeypatch.setattr(image_writing, "write_images", full)
    monkeypatch.setattr(images, "write_images", full)
    flags = ("--output", tmp_path / "out.png", "--uncertainty", tmp_path / "w.png", "--report", tmp_path / "r.html")
    with pytest.raises(OSError, match="No space left") as error:
        run(model, source, *flags)
    assert error.value.filename == str(tmp_path / name)


@pytest.mark.parametrize(
    "value,shown",
    [(4.334, "4.33"), (40.0, "40"), (1234.5, "1,234"), (65535.0, "65,535"), (0.00123, "0.00123"), (0, "0")],
)
def test_numbers_for_readers_have_no_exponent(value, shown):
    assert text.three_digits(value) == shown


def test_report_of_sixteen_bits_has_no_exponent(tmp_path, monkeypatch, capsys):
    # 0.012 of 65535 is 786 levels, 0.024 is 1,573.
    model, source = calibrated(tmp_path, monkeypatch), write_png(tmp_path / "in.png", full=65535)
    flags = ("--output", tmp_path / "out.png", "--uncertainty", tmp_path / "w.png", "--report", tmp_path / "r.html")
    run(model, source, *flags)
    page = (tmp_path / "r.html").read_text()
    assert "1,573" in page and not re.search(r"\de\+\d", re.sub(r"base64,[^']*", "", page))
    assert "e+" not in capsys.readouterr().out


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="no /dev/full")
def test_full_temporary_folder_is_named(monkeypatch):
    # Of several frames the half-widths are kept in a temporary file.
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: open("/dev/full", "wb"))  # noqa: SIM115
    frames = HalfWidthFrames()
    frames.append(np.ones((256, 256, 1), np.float32), 255, 1)
    with pytest.raises(OSError, match="No space left") as error:
        frames.append(np.ones((256, 256, 1), np.float32), 255, 1)
    assert error.value.filename == tempfile.gettempdir()
    frames.close()


@pytest.mark.parametrize(
    "verdict,words",
    [
        (IN_SCOPE, "The statement applies to this image."),
        (UNUSUAL, "The statement is not applicable to this image."),
        (Verdict("not tested", None), "Whether the statement applies to this image was not verified."),
    ],
)
def test_map_of_pixels_says_whether_its_statement_applies(tmp_path, monkeypatch, verdict, words):
    # T-31
    model, source = calibrated(tmp_path, monkeypatch, verdict), write_png(tmp_path / "in.png")
    run(model, source, "--output", tmp_path / "out.png", "--uncertainty", tmp_path / "w.png")
    assert text_chunks(tmp_path / "w.png")[b"unit"].decode().endswith(f"multiplier 1.2). {words}")


def test_dicom_of_an_untested_image_says_that_nothing_was_verified(tmp_path, monkeypatch):
    # T-31, T-22
    model = calibrated(tmp_path, monkeypatch, Verdict("not tested", None))
    source = write_dicom(tmp_path / "in.dcm", cr())
    run(model, source, "--output", tmp_path / "out.dcm", "--uncertainty", tmp_path / "w.dcm")
    for name in ("out.dcm", "w.dcm"):
        stated = pydicom.dcmread(tmp_path / name).DerivationDescription
        assert stated.endswith("Applicability not tested: whether the guarantee of the half-widths holds is not known.")


def test_long_reasons_end_at_a_whole_one(tmp_path, monkeypatch):
    # "p 0.031" and nine times 21 characters are 196 of the 200.
    reasons = tuple(f"deviation number {number:02}" for number in range(20))
    model = calibrated(tmp_path, monkeypatch, Verdict("unusual", 0.031, reasons))
    source = write_dicom(tmp_path / "in.dcm", cr())
    run(model, source, "--output", tmp_path / "out.dcm")
    stated = pydicom.dcmread(tmp_path / "out.dcm").DerivationDescription
    assert "deviation number 08; and more)" in stated and "number 09" not in stated


@pytest.mark.parametrize("flags", [("--uncertainty", "plain/maps"), ("--report", "plain/t.csv")])
def test_folder_that_cannot_be_written_is_refused_before_the_first_image(tmp_path, monkeypatch, flags):
    model = calibrated(tmp_path, monkeypatch)
    (tmp_path / "in").mkdir()
    write_png(tmp_path / "in" / "a.png")
    (tmp_path / "plain").write_text("no folder")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="expected a writable folder at plain"):
        run(model, "in", "--output", "out", *flags)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "model.tflite", "plain"]


def test_map_over_the_input_is_refused_by_its_own_name(tmp_path, monkeypatch):
    model, source = calibrated(tmp_path, monkeypatch), write_png(tmp_path / "in.png")
    with pytest.raises(InputError, match="--uncertainty would overwrite the input"):
        run(model, source, "--output", tmp_path / "out.png", "--uncertainty", source)


def test_report_of_a_color_image_needs_no_half_width(tmp_path, monkeypatch):
    # Without --uncertainty there is nothing to refuse: the report says that there is no half-width.
    model = calibrated(tmp_path, monkeypatch)
    pixels = np.stack([np.rint(255 * picture(*SIZE, seed=seed))[..., 0] for seed in (0, 1, 2)], axis=-1)
    images.write_image(tmp_path / "in.png", pixels.astype(np.uint8), 255)
    flags = (tmp_path / "in.png", "--output", tmp_path / "out.png", "--color", "luma")
    run(model, *flags, "--report", tmp_path / "r.json")
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["half_width"] is None and report["guarantee"] == {"state": "none", "statement": None}
    assert report["applicability"]["untested"] == "the model has no description of the images that it is made for"
    with pytest.raises(InputError, match="a half-width is for gray images"):
        run(model, *flags, "--uncertainty", tmp_path / "w.png")


@pytest.mark.parametrize("kind", ["cr", "ct"])
def test_dicom_gets_a_map_and_names_the_guarantee(tmp_path, monkeypatch, kind):
    # T-15, T-22: in CT 0.012 of the 4095 HU, rounded up.
    model = calibrated(tmp_path, monkeypatch)
    source = write_dicom(tmp_path / "in.dcm", cr() if kind == "cr" else ct())
    run(model, source, "--output", tmp_path / "out.dcm", "--uncertainty", tmp_path / "w.dcm")
    sr, found = (pydicom.dcmread(tmp_path / name) for name in ("out.dcm", "w.dcm"))
    assert "alpha 0.1, delta 0.1, lambda 1.2, n 57 patients" in sr.DerivationDescription
    assert (found.Rows, found.Columns) == (sr.Rows, sr.Columns)
    expected = {"cr": "1.2.840.10008.5.1.4.1.1.7.3", "ct": "1.2.840.10008.5.1.4.1.1.30"}
    assert expected[kind] == found.SOPClassUID
    plain = tmp_path / "plain.dcm"
    run(model, source, "--output", plain)
    assert "lambda" not in pydicom.dcmread(plain).DerivationDescription
    assert pydicom.dcmread(plain).SOPInstanceUID != sr.SOPInstanceUID


def test_map_of_ct_as_image_is_in_hounsfield_units(tmp_path, monkeypatch):
    # T-15: with a slope of 2 HU the 4095 HU are 2047.5 stored values; 0.012 of 4095 HU is 49.14.
    model = calibrated(tmp_path, monkeypatch)
    source = write_dicom(tmp_path / "in.dcm", ct(RescaleSlope="2"))
    run(model, source, "--output", tmp_path / "out.dcm", "--uncertainty", tmp_path / "w.npy")
    np.testing.assert_allclose(np.load(tmp_path / "w.npy")[20:, 20:], 49.14, rtol=1e-5)


def test_folder_of_another_guarantee_is_refused(tmp_path, monkeypatch):
    model = calibrated(tmp_path, monkeypatch)
    (tmp_path / "in").mkdir()
    write_png(tmp_path / "in" / "a.png")
    outputs = (tmp_path / "in", "--output", tmp_path / "out", "--uncertainty", tmp_path / "w")
    run(model, *outputs)
    with pytest.raises(InputError, match="results of another uncertainty: '90 % of the pixels.*'68 % of the pixels"):
        run(model, *outputs, "--uncertainty_level", 0.32)
    with pytest.raises(InputError, match="results of another uncertainty"):
        run(model, *outputs[:3])


def test_maps_are_not_written_among_the_inputs(tmp_path, monkeypatch):
    # a.jpg would have a map of the name of another image, a.png.
    model = calibrated(tmp_path, monkeypatch)
    (tmp_path / "in").mkdir()
    Image.fromarray(np.rint(255 * picture(*SIZE)[..., 0]).astype(np.uint8)).save(tmp_path / "in" / "a.jpg")
    before = write_png(tmp_path / "in" / "a.png").read_bytes()
    with pytest.raises(InputError, match="outside of the folders of the inputs"):
        run(model, tmp_path / "in" / "a.jpg", "--output", tmp_path / "out", "--uncertainty", tmp_path / "in")
    assert (tmp_path / "in" / "a.png").read_bytes() == before and not (tmp_path / "out").exists()


def test_memory_of_measures_and_rounding_does_not_grow_with_the_map():
    # T-15: 2 and 4 megapixels; the integers are what rounding returns.
    peaks = []
    for rows in (1000, 2000):
        w = np.random.default_rng(0).gamma(2.0, 2.0, (rows, 2000, 1)).astype(np.float32) + 1e-3
        tracemalloc.start()
        found = report_measures.HalfWidths.of(w, 1.0)
        measures = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        half_width_files.rounded_up(w, 255)
        peaks.append((measures, tracemalloc.get_traced_memory()[1] - 2 * w.size))
        tracemalloc.stop()
    assert all(large < small + 1e5 for small, large in zip(*peaks, strict=True))
    quantiles, expected = np.array([found.median, found.p95, found.p99]), np.quantile(w, (0.5, 0.95, 0.99))
    assert (quantiles >= expected * (1 - 1e-6)).all() and (quantiles <= expected * 1.004).all()


# -- Applicability ----------------------------------------------------------------------------------------------------


def test_unusual_image_is_written_with_a_warning_and_without_guarantee(tmp_path, monkeypatch, capsys):
    # T-31
    model = calibrated(tmp_path, monkeypatch, UNUSUAL)
    source = write_dicom(tmp_path / "in.dcm", cr())
    outputs = ("--output", tmp_path / "out.dcm", "--uncertainty", tmp_path / "w.dcm")
    assert run(model, source, *outputs, "--report", tmp_path / "r.json") == 0
    out, err = capsys.readouterr()
    assert "; unusual (p 0.031)" in out
    assert err.startswith(f"warning: {source} is unusual for model (p 0.031; JPEG blocks; noise 3 times that")
    assert err.rstrip().endswith("the guarantee of its half-widths is not applicable")
    text = pydicom.dcmread(tmp_path / "out.dcm").DerivationDescription
    assert "Applicability: unusual (p 0.031; JPEG blocks; noise 3 times that of training)" in text
    assert "guarantee of the half-widths is not applicable" in text
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["guarantee"]["state"] == "not applicable" and content["applicability"]["forced"] is False


def test_image_out_of_scope_is_refused_in_one_sentence(tmp_path, monkeypatch):
    # T-31
    model = calibrated(tmp_path, monkeypatch, OUT_OF_SCOPE)
    source = write_dicom(tmp_path / "in.dcm", cr())
    before = sorted(tmp_path.iterdir())
    outputs = ("--output", tmp_path / "new" / "out.dcm", "--uncertainty", tmp_path / "w.dcm")
    with pytest.raises(InputError) as error:
        run(model, source, *outputs, "--report", tmp_path / "r.html")
    message = str(error.value)
    assert "\n" not in message and f"{source} is out of scope for model" in message
    assert "Modality (0008,0060) is MR" in message and "noise 9 times" in message and "--force" in message
    assert sorted(tmp_path.iterdir()) == before


def test_forced_image_is_recorded(tmp_path, monkeypatch, capsys):
    # T-31
    model = calibrated(tmp_path, monkeypatch, OUT_OF_SCOPE)
    source = write_dicom(tmp_path / "in.dcm", cr())
    run(model, source, "--output", tmp_path / "out.dcm", "--report", tmp_path / "r.json", "--force")
    assert "warning: " in capsys.readouterr().err
    assert "out of scope, forced (p 0.002" in pydicom.dcmread(tmp_path / "out.dcm").DerivationDescription
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["applicability"]["forced"] and content["guarantee"]["state"] == "not applicable"


def test_in_scope_changes_no_identity(tmp_path, monkeypatch, capsys):
    # T-31: the UIDs are those of a model without the check.
    source, found = write_dicom(tmp_path / "in.dcm", cr()), []
    for verdicts in ((), (IN_SCOPE,)):
        run(calibrated(tmp_path, monkeypatch, *verdicts), source, "--output", tmp_path / "out.dcm")
        found.append(pydicom.dcmread(tmp_path / "out.dcm"))
    assert found[0].SOPInstanceUID == found[1].SOPInstanceUID
    assert found[0].DerivationDescription == found[1].DerivationDescription


def test_worst_frame_decides(tmp_path, monkeypatch, capsys):
    model = calibrated(tmp_path, monkeypatch, IN_SCOPE, UNUSUAL, IN_SCOPE)
    source = write_dicom(tmp_path / "in.dcm", xa(frames=3))
    run(model, source, "--output", tmp_path / "out.dcm", "--report", tmp_path / "r.json")
    assert "; unusual (p 0.031)" in capsys.readouterr().out
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["described_frame"] == 2 and content["input"]["frames"] == 3


def test_without_consistency_it_is_not_tested_and_says_so(tmp_path, monkeypatch, capsys):
    model = calibrated(tmp_path, monkeypatch, OUT_OF_SCOPE)
    fields = card.read(model)
    monkeypatch.setattr(card, "read", lambda *_: fields | {"applicability": {"declared": {}}})
    run(model, write_png(tmp_path / "in.png"), "--output", tmp_path / "out.png", "--no-consistency")
    out, err = capsys.readouterr()
    assert "applicability not tested" in out and "was not tested (--no-consistency" in err


def test_folder_counts_outcomes_warns_of_drift_and_fills_a_table(tmp_path, monkeypatch, capsys):
    # T-31, T-50
    model = calibrated(tmp_path, monkeypatch, IN_SCOPE, UNUSUAL, OUT_OF_SCOPE, IN_SCOPE)
    (tmp_path / "in").mkdir()
    for number in range(4):
        write_png(tmp_path / "in" / f"Doe_Jane_{number}.png", seed=number)
    outputs = ("--output", tmp_path / "out", "--uncertainty", tmp_path / "w", "--report", tmp_path / "report.csv")
    with pytest.raises(InputError, match="1 of 4 images could not be upscaled: .*Doe_Jane_2"):
        run(model, tmp_path / "in", *outputs)
    out, err = capsys.readouterr()
    assert "applicability: 2 in scope, 1 unusual, 1 out of scope, 0 not tested" in out
    assert "warning: 50 % of the images are unusual for the model" in err
    names = {f"Doe_Jane_{number}.png" for number in (0, 1, 3)}
    assert {path.name for path in (tmp_path / "w").iterdir()} == names
    text = (tmp_path / "report.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert "Doe" not in text and [row["outcome"] for row in rows] == ["in scope", "unusual", "in scope"]
    assert [row["guarantee"] for row in rows] == ["applies", "not applicable", "applies"]
    assert float(rows[0]["half_width_median"]) == pytest.approx(3.06, rel=4e-3)
    # The images that are missing are made; rows of the others are kept.
    (tmp_path / "w" / "Doe_Jane_0.png").unlink()
    run(model, tmp_path / "in", *outputs)
    assert len(list(csv.DictReader((tmp_path / "report.csv").read_text().splitlines()))) == 4


@pytest.mark.parametrize(
    "outcomes,warned",
    [
        (["in scope"] * 17 + ["unusual"] * 3, False),  # 15 %
        (["in scope"] * 16 + ["unusual"] * 3 + ["out of scope"], True),
        (["in scope"] * 3 + ["unusual"], False),  # one image shows no drift
        (["not tested"] * 30 + ["in scope"] * 8 + ["unusual"] * 2, True),
    ],
)
def test_drift_is_more_than_fifteen_percent_of_the_tested(outcomes, warned):
    # T-31
    line, warning = trust_flags.counts(collections.Counter(outcomes))
    assert bool(warning) == warned and line.startswith("applicability: ")
    assert trust_flags.counts({"": 2}) == ("", "")


# -- Report -----------------------------------------------------------------------------------------------------------


def test_report_of_a_dicom_image_names_no_patient_and_no_file(tmp_path, monkeypatch):
    # T-50
    model = calibrated(tmp_path, monkeypatch, IN_SCOPE)
    source = write_dicom(tmp_path / "Doe.Jane.dcm", cr())
    for name in ("r.json", "r.html"):
        outputs = ("--output", tmp_path / "Doe.out.dcm", "--uncertainty", tmp_path / "w.dcm")
        run(model, source, *outputs, "--report", tmp_path / name)
        text = (tmp_path / name).read_text()
        for secret in ("Doe", "Jane", "ID-1", "1950", "A1", "Hospital", "SN-42", "1.2.3.4", str(tmp_path)):
            assert secret not in text.split("base64", 1)[0], secret
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["input"]["header"] == {
        "Modality": "CR",
        "PhotometricInterpretation": "MONOCHROME1",
        "BitsStored": 10,
    }
    assert content["guarantee"]["state"] == "applies"
    assert 0 <= content["consistency"]["null_space_energy"] < 1  # T-05
    assert content["half_width"]["regions"][0]["row"] == 0 and content["half_width"]["regions"][0]["column"] == 0
    page = (tmp_path / "r.html").read_text()
    assert page.count("data:image/png;base64,") == 2 and "src='http" not in page and "<script" not in page
    assert "null space" in page and "In scope" in page


def test_report_without_uncertainty_says_so(tmp_path):
    write_png(tmp_path / "in.png")
    run("bicubic", tmp_path / "in.png", "--output", tmp_path / "out.png", "--report", tmp_path / "r.json", "--scale", 2)
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["guarantee"] == {"state": "none", "statement": None} and content["half_width"] is None
    assert content["applicability"]["outcome"] == "not tested" and content["consistency"] is None
    assert content["model"]["name"] == "bicubic" and "numpy" in content["versions"]


def test_text_burned_into_the_image_is_not_shown(tmp_path, monkeypatch):
    source = write_dicom(tmp_path / "in.dcm", cr(BurnedInAnnotation="YES"))
    run("fast-x2", source, "--output", tmp_path / "out.dcm", "--report", tmp_path / "r.html", "--force")
    assert "data:image" not in (tmp_path / "r.html").read_text()


def test_energy_beyond_nyquist_of_known_waves():
    # T-50: at the scale 4 the input's Nyquist frequency is 1/8 cycle for each pixel. Periods of 4 and 32 pixels.
    x = np.arange(512)
    fast, slow = (np.cos(2 * np.pi * x / period) for period in (4, 32))
    for amplitude in (0.0, 0.5, 1.0):
        image = 100 + (slow[:, None] + amplitude * fast[:, None] + np.zeros((512, 512)))
        expected = amplitude**2 / (1 + amplitude**2)
        assert report_measures.energy_beyond_nyquist(image[..., None], 4) == pytest.approx(expected, abs=2e-3)
    assert math.isnan(report_measures.energy_beyond_nyquist(np.ones((20, 30, 1)), 2))


def test_shares_and_regions_of_a_map_by_hand():
    # T-50
    w = np.ones((160, 320, 1), np.float32)
    w[0:20, 0:20], w[100:120, 300:320], w[40:60, 100:120] = 9, 5, 7
    found = report_measures.HalfWidths.of(w, 1.0)
    shares = dict(found.shares)
    assert shares[1.0] == pytest.approx(1 - 1200 / 51200) and shares[9.0] == 1.0
    assert shares[8.0] == pytest.approx(1 - 400 / 51200) and 16.0 not in shares
    assert [(r.row, r.column, r.mean, r.maximum) for r in found.regions] == [
        (0, 0, 9, 9),
        (40, 100, 7, 7),
        (100, 300, 5, 5),
    ]
    assert 1 <= found.median <= 1.004 and found.mean == pytest.approx((50000 + 400 * 21) / 51200, rel=1e-4)


def test_table_keeps_rows_of_an_interrupted_command(tmp_path, monkeypatch):
    # T-50
    model, path = calibrated(tmp_path, monkeypatch), tmp_path / "report.csv"
    (tmp_path / "in").mkdir()
    write_png(tmp_path / "in" / "a.png")
    run(model, tmp_path / "in", "--output", tmp_path / "out", "--report", path)
    (row,) = csv.DictReader(path.read_text().splitlines())
    path.write_text(path.read_text() + "half,a,row")
    with Table(path) as table:
        table.add(row | {"input_sha256": "other"})
        table.add(row | {"outcome": "unusual"})
    found = list(csv.DictReader(path.read_text().splitlines()))
    assert [each["input_sha256"][:5] for each in found] == ["other", row["input_sha256"][:5]]
    shutil.copy(tmp_path / "in" / "a.png", path)
    with pytest.raises(InputError, match="another table"):
        Table(path)


# -- Archives ---------------------------------------------------------------------------------------------------------


def test_worker_writes_the_map_and_hands_over_verdict_and_row(tmp_path, monkeypatch):
    model = calibrated(tmp_path, monkeypatch, UNUSUAL, OUT_OF_SCOPE)
    write_png(tmp_path / "in.png")
    upscaler = batch.BatchUpscaler(str(model), 2, uncertainty=True, report=True)
    job = {
        "upscaler": dataclasses.asdict(upscaler),
        "weights_sha256": upscaler.upscaler.weights_sha256,
        "source": str(tmp_path / "in.png"),
        "target": str(tmp_path / "out.png"),
        "half_width": "memory://maps/in.png",
        "scale": None,
        "memory_limit": None,
    }
    found = cluster_jobs.upscale(job)
    assert found["outcome"] == "unusual" and found["row"]["guarantee"] == "not applicable"
    assert stores.read_bytes("memory://maps/in.png").startswith(b"\x89PNG")
    again = cluster_jobs.upscale(job | {"target": str(tmp_path / "other.png")})
    assert list(again) == ["refused"] and str(tmp_path / "in.png") in again["refused"]
    assert not (tmp_path / "other.png").exists()


def test_archive_fills_a_table_and_keeps_the_identity_of_earlier_ledgers(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for number in range(2):
        write_png(tmp_path / "in" / f"{number}.png", seed=number)
    command = ("bicubic", tmp_path / "in", "--scale", 2, "--output", tmp_path / "out", "--timeout", 60)
    run(*command, "--report", tmp_path / "report.csv")
    rows = list(csv.DictReader((tmp_path / "report.csv").read_text().splitlines()))
    assert len(rows) == 2 and {row["model"] for row in rows} == {"bicubic"}
    run(*command)
    assert "done already: 2 of 2 images" in capsys.readouterr().out
    plain = batch.BatchUpscaler("bicubic", 2)
    fields = {"model": "bicubic", "scale": 2, "tile": None, "color": "refuse", "max_tile": None, "consistency": ""}
    expected = json.dumps({**fields, "weights_sha256": ""}, sort_keys=True).encode()
    assert archive._identity(plain, "{}") == hashlib.sha256(expected).hexdigest()[:32]


# -- Python -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_assess_returns_half_widths_in_the_unit_of_the_array(tmp_path, monkeypatch, kind):
    # T-15, T-31
    monkeypatch.setattr(ConstantHead, "scale_map", lambda self, lr, sr, max_val: np.full(sr.shape, 0.01, np.float32))
    upscaler = tfmisr.load(calibrated(tmp_path, monkeypatch, UNUSUAL))
    lr = picture(*SIZE)[..., 0]
    image = np.rint(255 * lr).astype(kind) if kind is np.uint8 else lr
    found = upscaler.assess(image)
    np.testing.assert_array_equal(found.sr, upscaler(image))
    np.testing.assert_allclose(found.half_width, 3.06 if kind is np.uint8 else 0.012, rtol=1e-6)
    assert found.half_width.shape == found.sr.shape == (80, 88)
    assert found.outcome == "unusual" and found.verdict is UNUSUAL and found.guarantee == "not applicable"
    assert "multiplier 1.2" in found.statement
    assert found.agreement.within_half > 0.9 if kind is np.uint8 else found.agreement is None
    with pytest.raises(InputError, match="calibrated levels"):
        upscaler.assess(image, level=0.2)


def test_assess_of_a_model_without_checks(tmp_path):
    found = tfmisr.load("bicubic", scale=2).assess(picture(20, 24))
    assert (found.outcome, found.half_width, found.guarantee) == ("", None, "none")
    with pytest.raises(InputError, match="no half-width of bicubic"):
        tfmisr.load("bicubic", scale=2).assess(picture(20, 24), level=0.1)
