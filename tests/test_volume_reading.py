"""Reading DICOM volumes: values, order and geometry (V-01 to V-03)."""

import numpy as np
import pytest
from dicom_sources import OBLIQUE, mr
from pydicom import uid
from volume_sources import AXIAL, ORIGIN, SAGITTAL, affine_by_pydicom, enhanced, item, normal, numbered, save, series

from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import dicom_files, reading


def test_v01_values_of_a_series_are_hounsfield_units_in_the_order_of_positions(tmp_path):
    data_sets = series(RescaleSlope=2, RescaleIntercept=-1024)
    source = reading.read(save(tmp_path, data_sets))
    np.testing.assert_array_equal(source.volume.values, numbered(5) * 2.0 - 1024)
    assert source.volume.values.dtype == np.float32
    assert (source.kind, source.volume.modality, source.name) == ("dicom", "CT", "CT, 5 slices of 6 x 8")
    assert [h.SOPInstanceUID for h in source.headers] == [ds.SOPInstanceUID for ds in data_sets]
    assert not any("PixelData" in h for h in source.headers)
    assert [path.name for path in source.paths] == [f"slice{i:03}.dcm" for i in np.random.default_rng(0).permutation(5)]


@pytest.mark.parametrize("orientation", [OBLIQUE, AXIAL, SAGITTAL, [-1, 0, 0, 0, -1, 0], [0, 1, 0, 1, 0, 0]])
def test_v02_grid_is_that_of_the_standard(tmp_path, orientation):
    data_sets = series(orientation=orientation)
    source = reading.read(save(tmp_path, data_sets))
    expected = affine_by_pydicom(data_sets[0], data_sets[-1], 5)
    np.testing.assert_allclose(source.volume.grid.affine, expected, atol=1e-9)
    np.testing.assert_allclose(source.volume.grid.spacing, (2.5, 0.7, 0.5))
    assert np.linalg.det(np.array(source.volume.grid.directions)) == pytest.approx(-1)  # of slice, row, column


def test_v02_the_numbers_of_instances_and_slice_locations_are_ignored(tmp_path):
    lies = lambda i: {"InstanceNumber": 1 + (i * 3) % 5, "SliceLocation": float(-i), "SpacingBetweenSlices": 9.0}  # noqa: E731
    source = reading.read(save(tmp_path, series(each=lies)))
    np.testing.assert_array_equal(source.volume.values, numbered(5))
    assert source.volume.grid.spacing[0] == pytest.approx(2.5)
    assert "Spacing Between Slices (0018,0088) says 9 mm; the positions are used" in source.spacing_report


def test_v02_slices_that_run_against_the_normal_are_sorted_along_it(tmp_path):
    data_sets = series(step=-2.5 * normal())
    source = reading.read(save(tmp_path, data_sets))
    np.testing.assert_array_equal(source.volume.values, numbered(5)[::-1])
    np.testing.assert_allclose(source.volume.grid.origin, ORIGIN - 10 * normal())
    assert np.array(source.volume.grid.directions[0]) @ normal() == pytest.approx(1)


def test_v02_positions_rounded_as_scanners_do_are_equidistant(tmp_path):
    jitter = np.random.default_rng(0).uniform(-1e-4, 1e-4, (40, 3))
    place = lambda i: {"ImagePositionPatient": list(ORIGIN + 0.625 * i * normal() + jitter[i])}  # noqa: E731
    source = reading.read(save(tmp_path, series(40, each=place)))
    assert source.volume.grid.spacing[0] == pytest.approx(0.625, abs=1e-5)
    for index in (0, 20, 39):
        np.testing.assert_allclose(source.volume.grid.position(index), place(index)["ImagePositionPatient"], atol=4e-4)


def test_v02_order_of_files_does_not_matter(tmp_path):
    data_sets = series()
    first = reading.read(save(tmp_path / "a", data_sets, order=range(5)))
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(5)
        other = reading.read(save(tmp_path / str(seed), data_sets, order=order))
        np.testing.assert_array_equal(first.volume.values, other.volume.values)
        assert first.volume.grid == other.volume.grid


@pytest.mark.parametrize("thickness,text", [(2.5, "no gap"), (2, "a gap of 0.5 mm"), (4, "an overlap of 1.5 mm")])
def test_v03_report_names_gap_and_overlap(tmp_path, thickness, text):
    source = reading.read(save(tmp_path, series(SliceThickness=thickness)))
    assert source.spacing_report == f"slices 2.5 mm apart, {thickness:g} mm thick: {text}"
    assert source.volume.slice_thickness == thickness
    assert source.volume.gap == pytest.approx(2.5 - thickness)


def test_v03_thickness_that_is_not_stated_is_unknown(tmp_path):
    source = reading.read(save(tmp_path, series(SliceThickness=None)))
    assert source.volume.slice_thickness is None
    assert source.spacing_report == "slices 2.5 mm apart, of unknown thickness"


@pytest.mark.parametrize(
    "sop_class",
    [
        uid.EnhancedCTImageStorage,
        uid.LegacyConvertedEnhancedCTImageStorage,
    ],
)
def test_v01_frames_of_a_multi_frame_image_are_sorted_by_their_positions(tmp_path, sop_class):
    path = tmp_path / "enhanced.dcm"
    enhanced(sop_class=sop_class).save_as(path, enforce_file_format=True)
    source = reading.read(path)
    order = np.random.default_rng(1).permutation(5)
    np.testing.assert_array_equal(source.volume.values, numbered(5) * 2.0 - 1000)
    assert source.kind == "enhanced"
    assert source.frame_numbers == tuple(int(np.flatnonzero(order == i)[0]) + 1 for i in range(5))
    np.testing.assert_allclose(source.volume.grid.affine[:3, 3], ORIGIN)
    np.testing.assert_allclose(source.volume.grid.spacing, (2.5, 0.7, 0.5))
    assert source.spacing_report.endswith("2 mm thick: a gap of 0.5 mm")
    assert float(source.headers[3].ImagePositionPatient[2]) == pytest.approx((ORIGIN + 7.5 * normal())[2])


def test_v01_frames_of_two_echoes_are_split(tmp_path):
    echo = lambda i: {"MREchoSequence": [item(EffectiveEchoTime=4.5 + 10 * (i % 2))]}  # noqa: E731
    ds = enhanced(10, each=echo)
    for group, index in zip(ds.PerFrameFunctionalGroupsSequence, np.random.default_rng(1).permutation(10), strict=True):
        place = ORIGIN + 2.5 * (index // 2) * normal()
        group.PlanePositionSequence[0].ImagePositionPatient = [f"{v:.8g}" for v in place]
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(InputError, match=r"10 slices at 5 places.*--select EffectiveEchoTime=\.\.\. .*4.5 or 14.5"):
        reading.read(tmp_path)
    source = reading.read(tmp_path, select="EffectiveEchoTime=14.5")
    np.testing.assert_array_equal(source.volume.values, numbered(10)[1::2] * 2.0 - 1000)


def test_v01_a_list_and_a_pattern_give_what_the_folder_gives(tmp_path):
    folder = save(tmp_path, series())
    expected = reading.read(folder).volume.values
    for paths in (sorted(folder.iterdir()), str(folder / "slice*.dcm"), [folder, folder / "slice000.dcm"]):
        np.testing.assert_array_equal(reading.read(paths).volume.values, expected)


def test_v01_a_series_is_chosen_by_uid_or_number(tmp_path):
    save(tmp_path, series())
    save(tmp_path, series(4, SeriesInstanceUID="1.2.3.8", SeriesNumber=8), prefix="other")
    with pytest.raises(dicom_files.SeveralSeries, match=r"2 series: series \d .*; choose one with --series") as raised:
        reading.read(tmp_path)
    assert "Thorax" not in str(raised.value)
    assert "Doe" not in str(raised.value)
    assert any("1.2.3.8 Thorax" in entry.describe() for entry in raised.value.entries)
    for chosen in ("8", "1.2.3.8"):
        assert reading.read(tmp_path, series=chosen).volume.grid.shape[0] == 4
    with pytest.raises(InputError, match="expected the UID or number of a series"):
        reading.read(tmp_path, series="9")


def test_v02_localizers_are_dropped_and_counted(tmp_path):
    save(tmp_path, series())
    save(tmp_path, series(3, orientation=SAGITTAL, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), prefix="scout")
    other = series(1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], SeriesInstanceUID="1.2.3.7")
    save(tmp_path, other, prefix="other")
    source = reading.read(tmp_path)
    assert source.volume.grid.shape[0] == 5
    assert set(source.remarks) == {"skipped 3 localizers of the series", "skipped 1 localizer of other series"}


def test_v01_scale_is_fixed_for_ct_and_of_the_series_for_mr(tmp_path):
    scale = reading.read(save(tmp_path / "ct", series())).scale
    np.testing.assert_allclose(scale.to_unit(np.array([-1024.0, 3071.0])), [0, 1])
    pixels = numbered(5)
    steps = {"RescaleSlope": 0.5, "RescaleIntercept": 0, "BitsStored": 16}
    source = reading.read(save(tmp_path / "mr", series(kind=mr, pixels=pixels, **steps)))
    assert source.max_val == 8191  # 4107 steps of 0.5
    units = source.scale.to_unit(source.volume.values)
    np.testing.assert_allclose(units, pixels / 8191, rtol=1e-6)
    np.testing.assert_allclose(source.scale.from_unit(units), source.volume.values, rtol=1e-6)


def test_v01_padding_is_the_lowest_value_of_the_image_and_marked(tmp_path):
    pixels = numbered(5)
    pixels[:, 0, 0] = -2000
    source = reading.read(save(tmp_path, series(pixels=pixels, PixelPaddingValue=-2000)))
    assert source.volume.values.min() == 1 == source.volume.values[3, 0, 0]
    np.testing.assert_array_equal(source.padding, pixels == -2000)


def test_v01_slices_with_different_slopes_are_in_one_unit(tmp_path):
    pixels = numbered(5)
    slopes = lambda i: {"RescaleSlope": 1 + i, "RescaleIntercept": 10 * i}  # noqa: E731
    source = reading.read(save(tmp_path, series(kind=mr, pixels=pixels, each=slopes, BitsStored=16)))
    i = np.arange(5)[:, np.newaxis, np.newaxis]
    np.testing.assert_array_equal(source.volume.values, pixels * (1.0 + i) + 10 * i)
