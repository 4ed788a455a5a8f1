"""Frozen studies: arms resampled to a common grid, pixel files of one length, one hash, and no patient data."""

import dataclasses
import json
import subprocess
import sys

import dicom_sources
import numpy as np
import pytest
from reader_study_helpers import ROOT, build, values

from tfmisr import degradations
from tfmisr.edge import images, resize
from tfmisr.edge.errors import InputError
from tfmisr.reader_study import building, cases, frozen, study_file
from tfmisr.reader_study.windowing import LINEAR_EXACT, SIGMOID, Preset, Window


def stored(study, case, arm):
    return study.pixels(case, arm).astype(np.int64) + study.presentation(case).offset


#
def test_same_study_file_gives_the_same_hash_and_another_seed_another(tmp_path):
    hashes = []
    for number, seed in enumerate((7, 7, 8)):
        (tmp_path / str(number)).mkdir()
        hashes.append(build(tmp_path / str(number), seed=seed).hash)
    assert hashes[0] == hashes[1] != hashes[2]


#
def test_changed_study_or_pixel_is_found(tmp_path):
    study = build(tmp_path)
    assert frozen.Study(study.folder).changed_pixels() == []
    body = next((study.folder / "pixels").iterdir())
    content = bytearray(body.read_bytes())
    content[7] ^= 1
    body.write_bytes(content)
    assert frozen.Study(study.folder).changed_pixels() == [body.stem]
    path = study.folder / "study.json"
    path.write_text(path.read_text().replace('"minimum_seconds": 2.0', '"minimum_seconds": 3.0'))
    with pytest.raises(InputError, match="was changed after the study was frozen"):
        frozen.Study(study.folder)


#
def test_all_pixel_files_of_a_case_have_one_length_and_no_revealing_name(tmp_path):
    study = build(tmp_path, display={"panes": ["lr", "rated", "truth"]})
    assert {path.stat().st_size for path in (study.folder / "pixels").iterdir()} == {32 * 40 * 2}
    names = " ".join(path.name for path in study.folder.rglob("*"))
    assert not any(word in names for word in ("armadillo", "buffalo", "caracal", "secret"))
    assert "secret" not in (study.folder / "study.json").read_text()


def test_images_of_arms_are_those_of_their_models(tmp_path):
    study = build(tmp_path, cases=2, training=0)
    for case in study.plan.cases:
        truth = stored(study, case, "caracal")
        known = [images.read_images(tmp_path / "source" / f"secret{i}.png")[0].pixels[..., 0] for i in (0, 1)]
        assert any(np.array_equal(truth, pixels) for pixels in known)
        lr = degradations.make(2)(truth[..., None].astype(np.float32) / np.float32(4095), 4095)
        for arm, method in (("armadillo", "bilinear"), ("buffalo", "bicubic")):
            expected = np.rint(np.clip(resize.upscale(lr, 2, method)[..., 0], 0, 1) * 4095)
            assert np.array_equal(stored(study, case, arm), expected)


def test_low_resolution_pane_has_each_pixel_as_a_square(tmp_path):
    study = build(tmp_path, display={"panes": ["lr", "rated"]})
    (role, digest), _ = study.panes("case-001", ("caracal",))
    lr = np.frombuffer(study.body(digest), "<u2").reshape(32, 40)
    assert role == "lr"
    assert np.array_equal(lr, lr[::2, ::2].repeat(2, 0).repeat(2, 1))


#
def test_pane_that_equals_an_arm_is_refused_by_the_name_of_the_arm(tmp_path):
    arms = {"armadillo": "nearest", "caracal": "truth"}
    with pytest.raises(InputError, match="arm armadillo looks exactly like the pane lr beside it"):
        build(tmp_path, arms=arms, display={"panes": ["rated", "lr"]})
    assert not (tmp_path / "study").exists()
    (tmp_path / "alone").mkdir()
    assert build(tmp_path / "alone", arms=arms).plan.arms == ("armadillo", "caracal")


#
def test_pane_that_equals_a_model_of_another_name_is_refused(tmp_path, monkeypatch):
    squares = building.upscalers.load("nearest")
    monkeypatch.setattr(building.upscalers, "load", lambda name: dataclasses.replace(squares, name=name))
    with pytest.raises(InputError, match="arm buffalo looks exactly like the pane lr"):
        build(tmp_path, arms={"buffalo": "network", "caracal": "truth"}, display={"panes": ["lr", "rated"]})
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


#
def test_further_windows_of_the_header_and_the_usual_ones_of_ct_can_be_chosen(tmp_path):
    pixels = dicom_sources.smooth(low=-900, high=1200)
    pixels[:5, :7] = dicom_sources.PADDING
    pixels[10, 10], pixels[11, 11] = -900, 1200
    windows = {"WindowCenter": [40, 300, 7], "WindowWidth": [400, 1500, 0]}
    ds = dicom_sources.ct(pixels, PixelPaddingValue=dicom_sources.PADDING, RescaleIntercept=0, **windows)
    presets = dicom_study(tmp_path, ds).presentation("case-001").presets
    assert presets == (
        Preset("window 2", 300, 1500),
        Preset("lung", -600, 1500),
        Preset("soft tissue", 50, 400),
        Preset("bone", 400, 1800),
        # LINEAR: -900 is the last black value, 1200 the first white one.
        Preset("full range", 150.5, 2101),
    )
    (tmp_path / "mr").mkdir()
    ds = dicom_sources.ct(pixels[8:], Modality="MR", WindowCenter=1, WindowWidth=2)
    names = [preset.name for preset in dicom_study(tmp_path / "mr", ds).presentation("case-001").presets]
    assert names == ["full range"]


def test_study_of_the_previous_release_has_no_further_windows(tmp_path):
    study = build(tmp_path)
    for case in study.values["cases"]:
        del case["presets"]
    study.values["hash"] = frozen.digest(study.values)
    (study.folder / "study.json").write_text(json.dumps(study.values))
    assert frozen.Study(study.folder).presentation("case-001").presets == ()


#
def test_window_is_one_for_a_case_and_spans_the_full_resolution_image(tmp_path):
    study = build(tmp_path)
    shown = study.presentation("case-001")
    low, high = np.percentile(stored(study, "case-001", "caracal"), (0.1, 99.9))
    assert shown.window.function == "LINEAR"
    # LINEAR: all up to center - 0.5 - (width - 1) / 2 is black.
    assert shown.window.center - 0.5 - (shown.window.width - 1) / 2 == np.floor(low)
    assert shown.window.center - 0.5 + (shown.window.width - 1) / 2 == np.ceil(high)


def dicom_study(folder, ds, **changes):
    source = folder / "source"
    source.mkdir()
    for number in range(2):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        ds.save_as(source / f"Doe_Jane_{number}.dcm", enforce_file_format=True)
    said = values(source, cases=2, training=0) | {"cases": {"files": ["*.dcm"], "count": 2, "training": 0}} | changes
    return building.build(study_file.from_dict(said, "test", source), folder / "study")


#
def test_dicom_keeps_stored_values_window_and_polarity(tmp_path):
    ds = dicom_sources.ct(
        RescaleIntercept=-1024, WindowCenter=[40, 300], WindowWidth=[400, 1500], VOILUTFunction=SIGMOID
    )
    study = dicom_study(tmp_path, ds)
    shown = study.presentation("case-001")
    assert shown.window == Window(40.0, 400.0, SIGMOID)
    assert (shown.slope, shown.intercept, shown.inverted, shown.offset) == (1.0, -1024.0, False, -32768)
    truth = dicom_sources.values(ds)[0, ..., 0].astype(np.int64)
    # Values outside the network range, -1024 to 3071 HU, are clipped in all arms.
    assert np.array_equal(stored(study, "case-001", "caracal"), np.clip(truth, 0, 4095))


#
def test_monochrome1_is_displayed_inverted_and_upscaled_from_bright_bones(tmp_path):
    pixels = dicom_sources.smooth(low=0, high=4000, dtype=np.uint16)
    ds = dicom_sources.ct(pixels, BitsStored=12, PhotometricInterpretation="MONOCHROME1", Modality="CR")
    ds.WindowCenter, ds.WindowWidth, ds.VOILUTFunction = "1000", "0.5", LINEAR_EXACT
    study = dicom_study(tmp_path, ds)
    shown = study.presentation("case-001")
    assert shown.inverted and shown.window == Window(1000.0, 0.5, LINEAR_EXACT)
    assert np.array_equal(stored(study, "case-001", "caracal"), pixels)
    difference = stored(study, "case-001", "buffalo") - pixels
    assert np.abs(difference).mean() < 40


#
def test_padding_is_where_it_was_in_every_arm_and_nowhere_else(tmp_path):
    pixels = dicom_sources.smooth(low=-900, high=1200)
    pixels[:5, :7] = dicom_sources.PADDING
    ds = dicom_sources.ct(pixels, PixelPaddingValue=dicom_sources.PADDING)
    study = dicom_study(tmp_path, ds)
    low, high = study.presentation("case-001").padding
    assert low == high == dicom_sources.PADDING + 32768
    for arm in ("armadillo", "buffalo", "caracal"):
        assert np.array_equal(stored(study, "case-001", arm) == dicom_sources.PADDING, pixels == dicom_sources.PADDING)
        assert stored(study, "case-001", arm)[5:8, 7:10].min() > -1000  # nothing rings into the image


#
def test_nothing_of_a_patient_is_in_the_study(tmp_path):
    ds = dicom_sources.ct(PatientName="Doe^Jane", PatientID="ID-4711", AccessionNumber="A-0815")
    study = dicom_study(tmp_path, ds)
    content = b"".join(path.read_bytes() for path in study.folder.rglob("*") if path.is_file())
    for secret in (b"Doe", b"Jane", b"4711", b"0815", b"1.2.3", b".dcm"):
        assert secret not in content


#
@pytest.mark.parametrize(
    "ds,expected",
    [
        (dicom_sources.ct(np.zeros((32, 32, 3), np.uint8)), "expected a gray image for a reader study"),
        (dicom_sources.ct(np.zeros((8, 8), np.int16)), "image sides must be 16 to 8192 pixels"),
        (dicom_sources.ct(BurnedInAnnotation="YES"), r"Burned In Annotation \(0028,0301\) is YES: readers would see"),
    ],
)
def test_image_that_cannot_be_displayed_is_an_input_error(ds, expected, tmp_path):
    with pytest.raises(InputError, match=expected):
        dicom_study(tmp_path, ds)
    assert not (tmp_path / "study").exists()


def test_window_that_no_image_can_have_is_left_out(tmp_path):
    ds = dicom_sources.ct(WindowCenter=40, WindowWidth=0)
    assert dicom_study(tmp_path, ds).presentation("case-001").window.width > 1000


def test_dataset_gives_one_image_a_patient_first():
    found = cases._one_per_patient_first([1, 1, 2, 2, 3], np.random.default_rng(0))
    assert sorted(found) == [0, 1, 2, 3, 4]
    assert len({[1, 1, 2, 2, 3][i] for i in found[:3]}) == 3


def patients_of(folder, *patients, **changes):
    """Builds a study of one DICOM file for each of the patients."""
    source = folder / "source"
    source.mkdir()
    for number, patient in enumerate(patients):
        ds = dicom_sources.ct(np.full((32, 32), number, np.int16), PatientID=patient)
        ds.save_as(source / f"p{number % 2}_{number}.dcm", enforce_file_format=True)
    said = values(source, cases=2, training=0) | {"order": {"repeats": 0.0, "min_distance": 1}}
    said["cases"] = {"files": ["*.dcm"], "count": 2, "training": 1} | changes
    return building.build(study_file.from_dict(said, "test", source), folder / "study")


#
@pytest.mark.parametrize("seed", range(5))
def test_files_give_one_image_a_patient_first(tmp_path, seed):
    study = patients_of(tmp_path, "a", "a", "b", "b", "b", "c", "c")
    assert study.values["patients"] == 2
    ids = [np.unique(stored(study, case, "caracal")).item() for case in (*study.plan.cases, *study.plan.training)]
    assert sorted("aabbbcc"[value] for value in ids) == ["a", "b", "c"]


#
def test_cases_of_one_patient_are_counted(tmp_path):
    assert patients_of(tmp_path, "a", "a", "a").values["patients"] == 1


#
def test_pattern_identifies_the_patients_of_files(tmp_path):
    study = patients_of(tmp_path, "a", "b", "c", patient_pattern="(p[0-9])_", training=0)
    assert study.values["patients"] == 2


#
def test_files_need_no_tensorflow(tmp_path):
    program = (
        "import pathlib, sys; sys.path.insert(0, 'tests')\n"
        "from reader_study_helpers import build; from tfmisr.reader_study import app, store\n"
        f"store.Store(build(pathlib.Path({str(tmp_path)!r}))).database.close()\n"
        "assert not {'tensorflow', 'keras', 'tensorflow_datasets'} & set(sys.modules)"
    )
    pytest.importorskip("starlette")
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


#
def test_infeasible_distances_are_an_error_before_any_computation(tmp_path):
    with pytest.raises(InputError, match="no position for 6 repeats"):
        build(tmp_path, order={"repeats": 0.5, "repeat_distance": 30})
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    "changes,expected",
    [
        (
            {"arms": [{"name": "x", "model": "nothing"}, {"name": "y", "model": "bicubic"}]},
            "Received: nothing, where there is nothing",
        ),
        ({"cases": {"files": ["none*.png"], "count": 2}}, "expected images at none"),
        ({"cases": {"files": ["secret*.png"], "count": 9}}, "the study needs 10 cases"),
        ({"degradation": {"degradation": "magic"}}, "degradation must be one of"),
    ],
)
def test_study_that_cannot_be_built_leaves_nothing(changes, expected, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    said = values(source) | changes
    with pytest.raises(InputError, match=expected):
        building.build(study_file.from_dict(said, "test", source), tmp_path / "study")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_built_study_is_not_overwritten(tmp_path):
    study = build(tmp_path)
    before = json.loads((study.folder / "study.json").read_text())
    with pytest.raises(InputError, match="frozen once it is built"):
        building.build(study_file.from_dict(values(tmp_path), "test", tmp_path), study.folder)
    assert frozen.Study(study.folder).values == before
