"""One intensity scale for a series: the same for training, scores, pictures and derived DICOM."""

import csv
import json
import math
import shutil

import numpy as np
import png
import pydicom
import pytest
from dicom_sources import WHEN, ct, image, mr, nearest, product, smooth
from pydicom import uid

from tfmisr import data, evaluate, upscale
from tfmisr.edge import derived, images, series
from tfmisr.edge.errors import InputError
from tfmisr.edge.levels import IntensityScale

SIDE = 32


def slices(folder, highest, **attributes):
    """Writes MR slices `0.dcm`, `1.dcm`, ... of one patient; the brightest pixel of each is in `highest`."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, high in enumerate(highest):
        pixels = smooth(SIDE, SIDE, 0, high, np.uint16)
        pixels[0, :2] = 0, high
        ds = mr(pixels, SOPInstanceUID=f"1.2.3.4.1.{number}", InstanceNumber=number + 1, **attributes)
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return folder


def sixteen(folder):
    # As in a series of /mr of the shared data: 15 slices reach 1230 to 1700, one ends at 788.
    return slices(folder, [1230 + 30 * i for i in range(15)] + [788])


def surveyed(*paths):
    found = series.Survey()
    for path in paths:
        images.survey(path, found)
    return found.scale()


def derived_with(path, scale):
    """Returns what the network saw of an image, and the derived image."""
    seen = []

    def enlarge(lr):
        seen.append(lr)
        return nearest()(lr)

    sr = derived.derive(path, enlarge, product(), WHEN, scale=scale)
    return seen[0], sr


def put_png(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    png.from_array(pixels, f"L;{8 * pixels.itemsize}").save(path)


def put(path, ds):
    ds.save_as(path, enforce_file_format=True)
    return path


def prepared(folder, tmp_path, **options):
    source = data.load(str(folder), data_dir=str(tmp_path / "data"), **options)
    return source, [e for split in source.splits for e in source.examples(split)]


def run(*arguments):
    return upscale.main(["--model", "bicubic", "--scale", "2", *map(str, arguments)])


def record(folder):
    return json.loads((folder / "upscale.json").read_text())


def test_scale_of_a_series_covers_all_its_files(tmp_path):
    paths = sorted(sixteen(tmp_path / "in").iterdir())
    assert [images.read_images(p)[0].max_val for p in paths].count(2047) == 15
    scale = surveyed(*paths)
    assert scale == IntensityScale(0, 2047)
    for path in paths:
        (own,), (shared,) = images.read_images(path), images.read_images(path, scale)
        assert shared.max_val == 2047
        np.testing.assert_array_equal(shared.pixels, own.pixels)


def test_dataset_and_scores_have_one_full_scale_and_the_protocol_says_so(tmp_path):
    folder = sixteen(tmp_path / "in")
    pattern = {"patient_pattern": r"(.+)\.dcm"}
    source, found = prepared(folder, tmp_path, **pattern)
    assert [e["max_val"] for e in found] == [2047] * 16
    assert source.full_scale == "series"
    old, own = prepared(folder, tmp_path, **pattern, resumable=[_run(tmp_path, folder, pattern["patient_pattern"])])
    assert sorted(e["max_val"] for e in own) == [1023] + [2047] * 15
    assert old.full_scale == "" and old.folder != source.folder
    one = _evaluated(tmp_path, folder)
    (dim,) = [row["id"] for row in _table(source.folder / "sources.csv") if row["file"] == "15.dcm"]
    # Only the peak differs: 20 log10(2047 / 1023).
    pair = [_psnr_of(s, dim) for s in (source, old)]
    assert pair[0] - pair[1] == pytest.approx(20 * math.log10(2047 / 1023), abs=1e-3)
    assert one["protocol"]["full_scale"] == "series"
    assert "one full scale for a series" in (tmp_path / "evaluated" / "table.md").read_text()


def _run(tmp_path, folder, pattern):
    """A run that was begun with version 1.0.0 of the same folder."""
    builder = data.builder(str(folder), str(tmp_path / "data"), patient_pattern=pattern)
    (tmp_path / "run").mkdir(exist_ok=True)
    environment = {"data": {"prepared": builder.earlier_fingerprint()}, "lr_data": None}
    (tmp_path / "run" / "environment.json").write_text(json.dumps(environment))
    return tmp_path / "run"


def _evaluated(tmp_path, folder):
    arguments = ["--dataset", folder, "--data_dir", tmp_path / "data", "--patient_pattern", r"(.+)\.dcm"]
    arguments += ["--scale", 2, "--split", "all", "--measures", "psnr", "--output", tmp_path / "evaluated"]
    evaluate.main(["nearest", *map(str, arguments)])
    return json.loads((tmp_path / "evaluated" / "metrics.json").read_text())


def _table(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _psnr_of(source, name):
    from tfmisr import degradations
    from tfmisr.evaluation import scoring
    from tfmisr.inference import upscalers

    evaluated = scoring.evaluate(
        [upscalers.load("nearest")], source, "all", 2, degradations.make(2), measures=("psnr",)
    )
    return next(row["psnr"] for row in evaluated.rows if row["id"] == name and row["model"] == "nearest")


def test_folder_is_enlarged_over_one_scale(tmp_path):
    folder = sixteen(tmp_path / "in")
    run(folder, "--output", tmp_path / "out")
    for name in ("3.dcm", "15.dcm"):
        run(folder / name, "--output", tmp_path / name)
    alone, among = ([pydicom.dcmread(p / n) for n in ("3.dcm", "15.dcm")] for p in (tmp_path, tmp_path / "out"))
    # What a slice has of its own and of its series alike is the same image; the other one is another.
    assert alone[0].SOPInstanceUID == among[0].SOPInstanceUID
    assert alone[1].SOPInstanceUID != among[1].SOPInstanceUID
    assert len({ds.SeriesInstanceUID for ds in (*alone, *among)}) == 1
    assert "Intensity scale of the series: 0 to 2047." in among[1].DerivationDescription
    assert not any("Intensity" in ds.DerivationDescription for ds in (*alone, among[0]))
    run(folder / "15.dcm", "--output", tmp_path / "like.dcm", "--like", folder)
    assert pydicom.dcmread(tmp_path / "like.dcm").SOPInstanceUID == among[1].SOPInstanceUID


def test_network_sees_a_stored_value_alike_in_all_slices_of_derived_images(tmp_path):
    folder = sixteen(tmp_path / "in")
    scale = surveyed(*folder.iterdir())
    seen = [derived_with(folder / name, scale)[0].max() for name in ("14.dcm", "15.dcm")]
    assert seen == [pytest.approx(1650 / 2047), pytest.approx(788 / 2047)]


def test_single_file_says_which_scale_it_has(tmp_path, capsys):
    folder = sixteen(tmp_path / "in")
    run(folder / "15.dcm", "--output", tmp_path / "a.png")
    assert "values over 1023, the file's own scale; --like FOLDER_OR_FILE" in capsys.readouterr().out
    run(folder / "15.dcm", "--output", tmp_path / "b.png", "--like", folder)
    assert "values over 2047, the scale of its series" in capsys.readouterr().out
    assert [images.read_images(tmp_path / n)[0].max_val for n in ("a.png", "b.png")] == [1023, 2047]
    put_png(tmp_path / "eight.png", smooth(16, 16, 0, 90, np.uint8))
    run(tmp_path / "eight.png", "--output", tmp_path / "c.png")
    assert "values" not in capsys.readouterr().out


def test_like_without_the_series_or_too_narrow_is_refused(tmp_path):
    folder = sixteen(tmp_path / "in")
    other = slices(tmp_path / "other", [900], SeriesInstanceUID="1.2.9")
    for like, message in ((other, "no image with the same Series Instance UID"), (tmp_path / "no", "found nothing")):
        with pytest.raises(InputError, match=message):
            run(folder / "3.dcm", "--output", tmp_path / "a.dcm", "--like", like)
    with pytest.raises(InputError, match=r"3.dcm: the values go from 0 to 1320, beyond .* 0 to 1023"):
        run(folder / "3.dcm", "--output", tmp_path / "a.dcm", "--like", folder / "15.dcm")
    assert not (tmp_path / "a.dcm").exists()


def test_folder_keeps_the_scale_that_it_began_with(tmp_path, capsys):
    folder = slices(tmp_path / "in", [900, 500])
    run(folder, "--output", tmp_path / "out")
    (scale,) = record(tmp_path / "out")["scales"].values()
    assert scale == {"shift": 0, "max_val": 1023, "slope": 1.0, "intercept": 0.0}
    assert "1.2.3" not in (tmp_path / "out" / "upscale.json").read_text()  # a UID may lead to a patient
    slices(tmp_path / "in", [900, 500, 100, 1500])
    with pytest.raises(InputError, match="1 of 4 images could not be upscaled: .*3.dcm"):
        run(folder, "--output", tmp_path / "out")
    assert "0 to 1500, beyond the scale of the series, 0 to 1023" in capsys.readouterr().out
    assert "0 to 1023" in pydicom.dcmread(tmp_path / "out" / "2.dcm").DerivationDescription
    with pytest.raises(InputError, match="another intensity scale than that of --like; choose another --output"):
        run(folder, "--output", tmp_path / "out", "--like", folder, "--overwrite")


def test_folder_of_an_earlier_version_is_not_mixed_with_this_one(tmp_path):
    folder = slices(tmp_path / "in", [1500, 500])
    put_png(tmp_path / "eight" / "a.png", smooth(16, 16, 0, 90, np.uint8))
    for name, out in ((folder, "out"), (tmp_path / "eight", "out8")):
        run(name, "--output", tmp_path / out)
        older = {key: value for key, value in record(tmp_path / out).items() if key != "scales"}
        (tmp_path / out / "upscale.json").write_text(json.dumps(older))
    (tmp_path / "out" / "1.dcm").unlink()
    with pytest.raises(InputError, match="each file had its own intensity scale; choose another --output"):
        run(folder, "--output", tmp_path / "out")
    run(tmp_path / "eight", "--output", tmp_path / "out8", "--overwrite")  # 8 bits are what they were


def test_sub_folder_is_the_series_of_files_without_a_uid(tmp_path):
    for place, high in (("a/1", 4000), ("a/2", 300), ("b/1", 500), ("b/2", 200)):
        put_png(tmp_path / "in" / f"{place}.png", smooth(SIDE, SIDE, 0, high, np.uint16))
    # A file that tells its own full scale keeps it.
    images.write_image(tmp_path / "in" / "a" / "3.png", smooth(SIDE, SIDE, 0, 200, np.uint16)[..., None], 65535)
    source, found = prepared(tmp_path / "in", tmp_path)
    files = {row["id"]: row["file"] for row in _table(source.folder / "sources.csv")}
    expected = {"a/1.png": 4095, "a/2.png": 4095, "a/3.png": 65535, "b/1.png": 511, "b/2.png": 511}
    assert {files[e["id"]]: e["max_val"] for e in found} == expected
    run(tmp_path / "in", "--output", tmp_path / "out")
    assert {name: images.read_images(tmp_path / "out" / name)[0].max_val for name in expected} == expected
    run(tmp_path / "in" / "a" / "2.png", "--output", tmp_path / "like.png", "--like", tmp_path / "in" / "a")
    assert images.read_images(tmp_path / "like.png")[0].max_val == 4095
    with pytest.raises(InputError, match="no image of 16 bits without its own max_val"):
        run(tmp_path / "in" / "a" / "2.png", "--output", tmp_path / "no.png", "--like", tmp_path / "in")


@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
def test_signed_values_of_a_series_are_shifted_alike(tmp_path, photometric):
    paths = []
    for number, (low, high) in enumerate([(-100, 800), (-40, 300)]):
        pixels = np.array([[low, 0], [high, 7]], np.int16)
        ds = mr(pixels, SOPInstanceUID=f"1.2.3.{number}", BitsStored=16, PhotometricInterpretation=photometric)
        paths.append(put(tmp_path / str(number), ds))
    scale = surveyed(*paths)
    assert scale == IntensityScale(-100, 1023)
    level = lambda value: value + 100 if photometric == "MONOCHROME2" else 1023 - (value + 100)  # noqa: E731
    for path, stored in zip(paths, ([-100, 0, 800, 7], [-40, 0, 300, 7]), strict=True):
        (found,) = images.read_images(path, scale)
        assert found.pixels.ravel().tolist() == [level(value) for value in stored]
        assert found.max_val == 1023
        seen, _ = derived_with(path, scale)
        np.testing.assert_allclose(seen.ravel() * 1023, [level(value) for value in stored], atol=1e-3)


def pet(path, pixels, slope, number):
    ds = image(uid.PositronEmissionTomographyImageStorage, "PT", pixels, SOPInstanceUID=f"1.2.3.{number}")
    ds.Units, ds.RescaleSlope, ds.RescaleIntercept = "BQML", slope, 0
    ds.PixelSpacing, ds.ImagePositionPatient, ds.ImageOrientationPatient = [4, 4], [0, 0, number], [1, 0, 0, 0, 1, 0]
    return put(path, ds)


def test_pet_slices_of_different_slopes_are_compared_in_becquerel(tmp_path):
    hot, cold = np.array([[0, 32767], [16000, 8]], np.uint16), np.array([[0, 32767], [16000, 10]], np.uint16)
    paths = [pet(tmp_path / "cold", cold, 0.25, 1), pet(tmp_path / "hot", hot, 2, 2)]
    scale = surveyed(*paths)
    assert scale == surveyed(*reversed(paths)) == IntensityScale(0, 32767, 2.0, 0.0)
    (hot_image,), (cold_image,) = (images.read_images(path, scale) for path in reversed(paths))
    np.testing.assert_array_equal(hot_image.pixels[..., 0], hot)
    # A stored 32767 there is 8191.75 Bq/ml, as 4095.875 is here.
    assert cold_image.pixels.ravel().tolist() == [0, 4096, 2000, 1]
    assert hot_image.max_val == cold_image.max_val == 32767
    seen, sr = derived_with(paths[0], scale)
    np.testing.assert_allclose(seen.ravel(), cold.ravel() * 0.25 / (32767 * 2), rtol=1e-6)
    assert sr.pixel_array[::2, ::2].tolist() == cold.tolist()  # nothing is rounded on the way
    assert "0 to 262136" in sr.DerivationDescription


def test_slices_that_no_one_scale_fits_keep_their_own(tmp_path):
    rising, falling = (mr(RescaleSlope=slope, RescaleIntercept=0) for slope in (1, -1))
    paths = put(tmp_path / "a", rising), put(tmp_path / "b", falling)
    assert surveyed(*paths) is None
    with pytest.raises(InputError, match="b: Rescale Slope .* has a different sign than in its series"):
        images.read_images(paths[1], surveyed(paths[0]))


def test_what_the_header_fixes_is_not_decoded(tmp_path, monkeypatch):
    folder = tmp_path / "in"
    put_png(folder / "a.png", smooth(SIDE, SIDE, 0, 90, np.uint8))
    put(folder / "ct", ct(smooth(SIDE, SIDE)))
    put(
        folder / "dx",
        image(uid.DigitalXRayImageStorageForPresentation, "DX", smooth(SIDE, SIDE, 0, 9, np.uint16), BitsStored=12),
    )
    assert [images.read_header(folder / name).group for name in ("a.png", "ct", "dx")] == [None] * 3
    monkeypatch.setattr(images, "survey", None)
    _, found = prepared(folder, tmp_path)
    assert sorted(e["max_val"] for e in found) == [255, 4095, 4095]
    run(folder / "a.png", folder / "ct", "--output", tmp_path / "out")
    assert record(tmp_path / "out")["scales"] == {}


def test_broken_slice_does_not_count(tmp_path):
    folder = slices(tmp_path / "in", [1500, 500])
    content = (folder / "0.dcm").read_bytes()
    (folder / "0.dcm").write_bytes(content[:-500])
    with pytest.raises(InputError, match="1 of 2 images could not be upscaled: .*0.dcm"):
        run(folder, "--output", tmp_path / "out")
    assert [scale["max_val"] for scale in record(tmp_path / "out")["scales"].values()] == [511]


def test_study_shows_models_the_slices_as_training_does(tmp_path):
    from tfmisr.reader_study import cases, design

    folder = sixteen(tmp_path / "in")
    wanted = design.Cases(files=("in/*.dcm",), count=16, training=0, patient_pattern=r"(.+)\.dcm")
    found, _ = cases.collect(wanted, 2, 0, tmp_path)
    assert {case.levels for case in found} == {2047}
    assert cases.read_file(folder / "15.dcm", 2).levels == 1023


def test_real_series_has_one_scale(shared_data, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in ("038", "077", "109"):
        shutil.copy(shared_data / "mr" / f"vsseg001_1-{number}.dcm", folder)
    assert [images.read_images(path)[0].max_val for path in sorted(folder.iterdir())] == [2047, 2047, 1023]
    _, found = prepared(folder, tmp_path)
    assert [e["max_val"] for e in found] == [2047] * 3
