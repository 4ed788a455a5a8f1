"""V-11: a volume written as a derived series of single-frame CT or MR images."""

import dataclasses
import functools

import numpy as np
import pydicom
import pytest
from dicom_sources import WHEN, ct, item, mr
from pydicom.sequence import Sequence
from series_sources import AXIAL, CORONAL, OBLIQUE, averaged, grid_of, pattern, thin_product, write_source

from tfmisr import dicom_check
from tfmisr.edge import derived
from tfmisr.edge.derived.series import write_series
from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import Volume, reading, resampling
from tfmisr.edge.volumes.consistency import SliceConsistency
from tfmisr.edge.volumes.slice_profile import SliceProfile

FIVE = SliceProfile("gaussian", 5.0)


@dataclasses.dataclass
class Written:
    source: object
    result: Volume
    folder: object
    report: object

    @functools.cached_property
    def slices(self):
        return [pydicom.dcmread(file) for file in sorted(self.folder.iterdir())]

    def check(self):
        return dicom_check.series_violations(self.source.paths[0].parent, self.folder)


def derive(tmp_path, spacing=2.5, grid=None, profile=FIVE, product=None, name="thin", **fields):
    """Writes a thick series of an analytic volume, reads it, and writes the volume at `spacing` as a derived one."""
    grid = grid or grid_of(shape=(5, 20, 24))
    fine = grid.with_slice_spacing(spacing)
    low, high = (20, 1500) if fields.get("make") is mr else (-900, 1200)
    thin = pattern(fine, low, high, grid)
    folder = tmp_path / f"{name}_source"
    folder.mkdir()
    write_source(folder, averaged(thin, grid, fine, profile), grid, thickness=profile.fwhm, **fields)
    source = reading.read(folder)
    fine = source.volume.grid.with_slice_spacing(spacing)
    result = Volume(pattern(fine, low, high, grid), fine)
    report = write_series(source, result, tmp_path / name, product or thin_product(), profile, when=WHEN)
    return Written(source, result, tmp_path / name, report)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return derive(tmp_path_factory.mktemp("series"), grid=grid_of(shape=(6, 20, 24)), backwards=True)


GEOMETRIES = {
    "axial": {"plane": AXIAL},
    "oblique": {"plane": OBLIQUE, "spacing": (4.0, 0.7, 0.5)},
    "coronal": {"plane": CORONAL, "spacing": (5.0, 0.5, 0.9)},
    "against the normal": {"sense": -1},
    "feet first": {"plane": ([-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]), "origin": (10.0, 20.0, -500.0)},
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_v11_every_geometry_passes_the_check(tmp_path, name):
    """CT at a whole ratio, MR at another, each with the sense and the anisotropy of its planes."""
    grid = grid_of(**{"shape": (5, 20, 24), **GEOMETRIES[name]})
    ratio, make = (2, ct) if name in ("axial", "coronal", "feet first") else (1.7, mr)
    profile = SliceProfile("gaussian", grid.spacing[0])
    made = derive(tmp_path, grid.spacing[0] / ratio, grid, profile, make=make)
    assert made.check() == []
    again = reading.read(made.folder)
    expected = made.result.grid
    assert np.allclose(again.volume.grid.affine, expected.affine, atol=1e-5)
    assert again.volume.grid.shape == expected.shape
    assert np.abs(again.volume.values - made.result.values).max() <= 0.5001  # rounded, in the order of the places


def test_v11_positions_by_hand(tmp_path):
    """Eight slices of 5 mm from z = 30: faces at 27.5 and 67.5; slices of 1 mm have their centers at 28 to 67."""
    made = derive(tmp_path, 1.0, grid_of(shape=(8, 8, 8)))
    slices = made.slices
    assert [float(ds.ImagePositionPatient[2]) for ds in slices] == [28.0 + n for n in range(40)]
    assert {tuple(ds.ImagePositionPatient[:2]) for ds in slices} == {(-10.0, 20.0)}
    assert {(ds.SliceThickness, ds.SpacingBetweenSlices, *ds.PixelSpacing) for ds in slices} == {(1, 1, 0.7, 0.5)}
    assert [ds.InstanceNumber for ds in slices] == list(range(1, 41))
    # The source's Slice Location is 100 at z = 30 and falls: 102 at z = 28.
    assert [float(ds.SliceLocation) for ds in slices] == [102.0 - n for n in range(40)]


def test_v11_numbers_run_as_the_sources(written):
    """Instance Numbers of the source fall with z, and so do the new ones; files are in their order."""
    heights = [float(ds.ImagePositionPatient[2]) for ds in written.slices]
    assert heights == sorted(heights, reverse=True)
    assert [ds.InstanceNumber for ds in written.slices] == list(range(1, 13))
    assert written.report.files == tuple(f"{n:04d}.dcm" for n in range(1, 13))
    assert written.check() == []


def test_v11_source_images_by_hand(tmp_path):
    """Slices of 5 mm every 4 mm overlap: half of 5 + 2 mm is 3.5, so a slice within 3.5 mm is named."""
    made = derive(tmp_path, 2.0, grid_of(shape=(4, 16, 16), spacing=(4.0, 0.7, 0.5)))
    # Places of the sources: 0, 4, 8, ...; of the new slices: -1, 1, 3, 5, ...
    named = [[int(i.ReferencedSOPInstanceUID.split(".")[-1]) for i in ds.SourceImageSequence] for ds in made.slices[:5]]
    assert named == [[1], [1, 2], [1, 2], [2, 3], [2, 3]]
    assert made.check() == []


def test_v11_in_a_gap_the_slices_on_both_sides_are_named(tmp_path):
    """Slices of 1 mm every 5 mm, new ones every mm: those at 1 to 4 mm lie within no profile."""
    made = derive(tmp_path, 1.0, grid_of(shape=(3, 16, 16)), SliceProfile("rectangular", 1.0))
    named = [[int(i.ReferencedSOPInstanceUID.split(".")[-1]) for i in ds.SourceImageSequence] for ds in made.slices[:8]]
    assert named == [[1], [1], [1], [1, 2], [1, 2], [1, 2], [1, 2], [2]]
    assert made.check() == []


def test_v11_identity_is_new_and_the_context_is_kept(written):
    source, slices = pydicom.dcmread(written.source.paths[0]), written.slices
    assert len({ds.SOPInstanceUID for ds in slices}) == 12
    assert {ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID for ds in slices} == {True}
    assert len({ds.SeriesInstanceUID for ds in slices}) == 1
    assert slices[0].SeriesInstanceUID != source.SeriesInstanceUID
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientName", "PatientID", "AccessionNumber", "KVP"):
        assert {str(ds.get(keyword)) for ds in slices} == {str(source.get(keyword))}, keyword
    assert {tuple(ds.ImageType) for ds in slices} == {("DERIVED", "SECONDARY", "AXIAL", "AI_SR")}
    assert {ds.SeriesDescription for ds in slices} == {"Thorax SR 2.5 mm AI"}
    assert {ds.SeriesNumber for ds in slices} == {3003}
    text = slices[0].DerivationDescription
    for part in ("every 5 mm", "every 2.5 mm", "x2", "gaussian:5mm", "self-supervised", "seed 0", "not acquired"):
        assert part in text


def test_v11_uids_are_a_function_of_source_product_and_spacing(tmp_path):
    def uids(name, spacing=2.5, product=None, **fields):
        fields = {"grid": grid_of(shape=(3, 8, 8)), "name": name, "product": product, **fields}
        slices = derive(tmp_path, spacing, **fields).slices
        return [slices[0].SeriesInstanceUID, *(ds.SOPInstanceUID for ds in slices)]

    first = uids("a")
    assert uids("b") == first
    others = [
        uids("c", spacing=2.0),
        uids("d", product=thin_product(parameters="900 steps, seed 1")),
        uids("e", product=thin_product(weights_sha256="cd" * 32)),
        uids("f", SeriesInstanceUID="1.2.3.4.33"),
        uids("g", profile=SliceProfile("rectangular", 5.0)),
    ]
    seen = set(first)
    for other in others:
        assert not seen & set(other)
        seen |= set(other)


def test_v11_thickness_of_interpolated_slices_is_the_sources(tmp_path):
    made = derive(tmp_path, product=thin_product(ai=False, model="cubic spline", weights_sha256="", method=""))
    assert {float(ds.SliceThickness) for ds in made.slices} == {5.0}
    assert made.slices[0].ImageType[-1] == "INTERPOLATED"
    assert "Interpolation along the slice axis" in made.slices[0].DerivationDescription
    assert made.check() == []


def test_v11_attributes_of_single_slices(tmp_path):
    """Equal ones are copied, trigger time is interpolated, the rest is removed or, where required, empty."""

    def edit(ds, index):
        ds.TriggerTime = 100 + 10 * index
        ds.AcquisitionTime = f"1011{index:02d}"
        ds.Exposure, ds.KVP = 20 + index, 120
        ds.AcquisitionNumber = index
        ds.ImageComments = f"slice {index}"
        ds.WindowCenter, ds.WindowWidth = 40 + index, 400
        ds.ReferencedImageSequence = Sequence(
            [item(ReferencedSOPClassUID="1.2", ReferencedSOPInstanceUID=f"1.{index}")]
        )
        ds.ProtocolName = "chest"
        ds.ImagesInAcquisition = 8

    made = derive(tmp_path, 1.0, grid_of(shape=(8, 8, 8)), edit=edit)
    slices = made.slices
    # 5 mm and 10 ms apart: 2 ms per mm, and no extrapolation before the first and after the last slice.
    assert [float(ds.TriggerTime) for ds in slices[:8]] == [100, 100, 100, 102, 104, 106, 108, 110]
    assert float(slices[-1].TriggerTime) == 170
    for keyword in ("AcquisitionTime", "Exposure", "ImageComments", "ReferencedImageSequence", "ImagesInAcquisition"):
        assert all(keyword not in ds for ds in slices), keyword
    assert all("AcquisitionNumber" in ds and ds.AcquisitionNumber is None for ds in slices)
    assert {(ds.ProtocolName, ds.KVP, ds.AcquisitionDate) for ds in slices} == {("chest", 120, "20200102")}
    assert {(float(ds.WindowCenter), float(ds.WindowWidth)) for ds in slices} == {(43.5, 400)}
    (remark,) = made.report.remarks
    assert "Exposure" in remark
    assert "slice 3" not in remark
    assert made.check() == []


def test_v11_a_window_that_is_equal_in_all_slices_is_kept(written):
    assert {tuple(ds.WindowCenter) for ds in written.slices} == {(40, 300)}
    assert {tuple(ds.WindowCenterWidthExplanation) for ds in written.slices} == {("SOFT", "BONE")}


@pytest.mark.parametrize("keyword", ["FrameOfReferenceUID", "PatientID", "ScanningSequence", "BitsStored"])
def test_v11_slices_of_different_kinds_are_refused(tmp_path, keyword):
    folder = tmp_path / "source"
    folder.mkdir()
    grid = grid_of(shape=(3, 8, 8))

    def edit(ds, index):
        if index == 1:
            setattr(ds, keyword, {"BitsStored": 14, "ScanningSequence": "SE"}.get(keyword, "9.9"))
            ds.HighBit = ds.BitsStored - 1

    source = write_source(folder, pattern(grid, 0, 100), grid, edit=edit)
    with pytest.raises(InputError, match="differ in"):
        write_series(source, source.volume, tmp_path / "thin", thin_product(), FIVE)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_v11_stored_values_are_rounded_to_even_clipped_and_counted(tmp_path):
    """CT of 12 bits with intercept -1024 stores -1024 to 3071 HU."""
    grid = grid_of(shape=(3, 8, 8), spacing=(2.0, 0.7, 0.5))
    values = pattern(grid, -500, 500)
    source_folder = tmp_path / "source"
    source_folder.mkdir()
    fields = {"RescaleIntercept": -1024, "BitsStored": 12, "SmallestImagePixelValue": 0, "LargestImagePixelValue": 0}
    source = write_source(source_folder, values, grid, intercept=-1024, unsigned=True, **fields)
    result = values.repeat(2, axis=0)
    result[0, 0, :5] = [-1030, 4000, 10.5, 11.5, -0.5]
    product = thin_product(p99_limit=None, mean_limit=None)
    made = write_series(source, Volume(result, grid.with_slice_spacing(1.0)), tmp_path / "thin", product, FIVE)
    assert made.clipped == 2
    ds = pydicom.dcmread(tmp_path / "thin" / "0001.dcm")
    stored = np.frombuffer(ds.PixelData, "<u2").reshape(8, 8)
    assert stored[0, :5].tolist() == [0, 4095, 1034, 1036, 1024]
    assert (ds.BitsStored, ds.PixelRepresentation, ds.RescaleIntercept) == (12, 0, -1024)
    assert (ds.SmallestImagePixelValue, ds.LargestImagePixelValue) == (0, 4095)


def test_v11_padding_stays_exactly_padding(tmp_path):
    """Outside of the circle all voxels are -2000, inside none is, and limits do not count them."""
    grid = grid_of(shape=(4, 24, 24), spacing=(4.0, 0.7, 0.5))
    y, x = np.mgrid[:24, :24] - 11.5
    outside = y**2 + x**2 > 120
    fine, profile = grid.with_slice_spacing(1.0), SliceProfile("rectangular", 4.0)
    result = pattern(fine, -1000, 1000, grid)
    values = np.where(outside, -2000, averaged(result, grid, fine, profile))
    folder = tmp_path / "source"
    folder.mkdir()
    fields = {"PixelPaddingValue": -2000, "SmallestImagePixelValue": -9, "LargestImagePixelValue": 9}
    write_source(folder, values, grid, thickness=4.0, **fields)
    source = reading.read(folder)
    assert source.padding is not None
    result[5, 12, 12] = -2000.2
    write_series(source, Volume(result, fine), tmp_path / "thin", thin_product(), profile)
    for index, file in enumerate(sorted((tmp_path / "thin").iterdir())):
        ds = pydicom.dcmread(file)
        stored = np.frombuffer(ds.PixelData, "<i2").reshape(24, 24)
        assert np.array_equal(stored == -2000, outside)
        assert ds.SmallestImagePixelValue == stored[~outside].min() == (-1999 if index == 5 else stored[~outside].min())
        assert ds.PixelPaddingValue == -2000
    assert dicom_check.series_violations(folder, tmp_path / "thin") == []


def test_v11_slices_with_their_own_rescale_get_a_common_one(tmp_path):
    """The largest slope of 0.5, 1, 1.5 and 2; values agree within half a step of it."""

    def edit(ds, index):
        slope = 0.5 * (index + 1)
        stored = np.rint(np.frombuffer(ds.PixelData, "<u2") / slope).astype("<u2")
        ds.PixelData, ds.RescaleSlope, ds.RescaleIntercept = stored.tobytes(), slope, 0

    made = derive(tmp_path, grid=grid_of(shape=(4, 24, 32)), make=mr, edit=edit)
    slices = made.slices
    assert {(float(ds.RescaleSlope), float(ds.RescaleIntercept)) for ds in slices} == {(2.0, 0.0)}
    values = np.stack([np.frombuffer(ds.PixelData, "<u2").reshape(24, 32) * 2.0 for ds in slices])
    assert np.abs(values - made.result.values).max() <= 1.0
    assert made.check() == []


def test_v11_slices_without_a_common_rescale_are_refused(tmp_path):
    """Intercepts of 0 and 60000 with slope 1: 16 bits store the values of one, not of both."""
    grid = grid_of(shape=(3, 8, 8))
    folder = tmp_path / "source"
    folder.mkdir()

    def edit(ds, index):
        ds.RescaleSlope, ds.RescaleIntercept = 1, 60000 * (index == 2)

    write_source(folder, pattern(grid, 20, 1500), grid, mr, edit=edit)
    source = reading.read(folder)
    with pytest.raises(InputError, match="Rescale Slope"):
        write_series(source, source.volume, tmp_path / "thin", thin_product(), FIVE)


def test_v11_the_folder_appears_with_all_files_or_not_at_all(tmp_path, monkeypatch):
    source_folder = tmp_path / "source"
    source_folder.mkdir()
    grid = grid_of(shape=(3, 8, 8))
    source = write_source(source_folder, pattern(grid, 0, 100), grid)
    written, original = [], derived.write

    def failing(ds, path):
        assert not (tmp_path / "thin").exists()
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(path)
        original(ds, path)

    monkeypatch.setattr("tfmisr.edge.derived.image.write", failing)
    with pytest.raises(OSError, match="No space"):
        write_series(source, source.volume, tmp_path / "thin", thin_product(), FIVE)
    assert len(written) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize("existing", ["folder", "file", "dangling link"])
def test_v11_an_existing_target_is_refused(tmp_path, existing, written):
    target = tmp_path / "thin"
    if existing == "folder":
        target.mkdir()
    elif existing == "file":
        target.write_text("x")
    else:
        target.symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="exists"):
        write_series(written.source, written.result, target, thin_product(), FIVE)
    with pytest.raises(InputError, match="create it first"):
        write_series(written.source, written.result, tmp_path / "a" / "b", thin_product(), FIVE)


def test_v11_what_does_not_agree_with_the_source_is_not_written(tmp_path, written):
    for name, values in {
        "upside down": written.result.values[::-1],
        "another unit": written.result.values + 1024,
        "not finite": np.where(written.result.values > 900, np.nan, written.result.values),
    }.items():
        volume = Volume(np.ascontiguousarray(values), written.result.grid)
        with pytest.raises(InputError, match="do not agree|not finite"):
            write_series(written.source, volume, tmp_path / "thin", thin_product(), FIVE)
        assert not list(tmp_path.iterdir()), name


def test_v11_a_volume_of_other_planes_is_refused(tmp_path, written):
    grid = dataclasses.replace(written.result.grid, origin=tuple(np.add(written.result.grid.origin, (0.4, 0, 0))))
    with pytest.raises(InputError, match="slice axis"):
        write_series(written.source, Volume(written.result.values, grid), tmp_path / "thin", thin_product(), FIVE)


def test_v11_no_super_resolution_of_super_resolution_unless_forced(tmp_path, written):
    source = reading.read(written.folder)
    volume = Volume(source.volume.values.repeat(2, axis=0), source.volume.grid.with_slice_spacing(1.25))
    profile = SliceProfile("rectangular", 2.5)
    with pytest.raises(InputError, match="already been upscaled"):
        write_series(source, volume, tmp_path / "thin", thin_product(), profile)
    write_series(source, volume, tmp_path / "thin", thin_product(), profile, force=True)
    assert dicom_check.series_violations(written.folder, tmp_path / "thin") == []
    with pytest.raises(InputError, match="already been upscaled"):  # in plane too
        derived.derive(
            next(written.folder.iterdir()),
            lambda lr: lr.repeat(2, 0).repeat(2, 1),
            derived.Product(name="tfmisr", version="0", model="m", weights_sha256="", scale=2),
        )


def test_v11_a_modality_lut_and_other_kinds_of_images_are_refused(tmp_path):
    grid = grid_of(shape=(3, 8, 8))
    for name, edit, reason in (
        ("lut", lambda ds, _: add_lut(ds), "has no inverse"),
        ("pet", lambda ds, _: as_pet(ds), "expected CT or MR"),
    ):
        (tmp_path / name).mkdir()
        source = write_source(tmp_path / name, pattern(grid, 0, 100), grid, edit=edit)
        with pytest.raises(InputError, match=reason):
            write_series(source, source.volume, tmp_path / "thin", thin_product(), FIVE)


def add_lut(ds):
    for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType"):
        delattr(ds, keyword)
    lut = item(ModalityLUTType="US")
    lut.add_new(0x00283002, "US", [4, 0, 16])
    lut.add_new(0x00283006, "US", [0, 1, 2, 3])
    ds.ModalityLUTSequence = Sequence([lut])


def as_pet(ds):
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = pydicom.uid.PositronEmissionTomographyImageStorage
    ds.Modality, ds.Units = "PT", "BQML"


def test_v11_names_keep_their_bytes(tmp_path):
    """D-43: a name in a character set keeps its bytes, of which ISO 2022 has several for one text."""
    name = "Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B".encode("ascii")

    def edit(ds, index):
        ds.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
        ds["PatientName"] = pydicom.dataelem.RawDataElement(
            pydicom.tag.Tag("PatientName"), "PN", len(name), name, 0, False, True
        )

    made = derive(tmp_path, grid=grid_of(shape=(3, 8, 8)), edit=edit)
    for file in made.folder.iterdir():
        assert name in file.read_bytes()


def test_v11_a_resampled_gantry_tilt_is_written_on_its_orthogonal_grid(tmp_path):
    """Slices 5 mm apart along z, shifted by 1.4 mm along y from slice to slice: a tilt of 15.6 degrees."""
    (tmp_path / "source").mkdir()
    grid = grid_of(shape=(4, 24, 24))

    def edit(ds, index):
        ds.ImagePositionPatient = [-10, 20 + 1.4 * index, 30 + 5 * index]

    write_source(tmp_path / "source", pattern(grid), grid, edit=edit)
    source = reading.read(tmp_path / "source", resample_tilt=True)
    fine = source.volume.grid.with_slice_spacing(2.5)
    volume = Volume(source.volume.values.repeat(2, axis=0), fine)
    write_series(source, volume, tmp_path / "thin", thin_product(), SliceProfile("rectangular", 5.0))
    again = reading.read(tmp_path / "thin")
    assert again.volume.grid.shape == fine.shape
    assert np.allclose(again.volume.grid.affine, fine.affine, atol=1e-5)
    assert np.abs(again.volume.values - volume.values).max() <= 0.5
    assert dicom_check.series_violations(tmp_path / "source", tmp_path / "thin") == []


def test_v11_one_echo_of_two(tmp_path):
    """The derived series names slices of the echo it was made from, and has its Echo Time."""
    grid = grid_of(shape=(4, 16, 16))
    for echo in (1, 2):
        (tmp_path / "source" / str(echo)).mkdir(parents=True)

        def edit(ds, index, echo=echo):
            ds.EchoTime, ds.EchoNumbers = 10.0 * echo, echo
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.4.{10 + echo}.{index}"

        write_source(tmp_path / "source" / str(echo), pattern(grid, 20, 1000 * echo), grid, mr, edit=edit)
    source = reading.read(tmp_path / "source", select="EchoTime=20")
    volume = Volume(source.volume.values.repeat(2, axis=0), source.volume.grid.with_slice_spacing(2.5))
    write_series(source, volume, tmp_path / "thin", thin_product(), SliceProfile("rectangular", 5.0))
    slices = [pydicom.dcmread(file) for file in (tmp_path / "thin").iterdir()]
    named = {i.ReferencedSOPInstanceUID for ds in slices for i in ds.SourceImageSequence}
    assert named == {f"1.2.3.4.12.{n}" for n in range(4)}
    assert {float(ds.EchoTime) for ds in slices} == {20.0}
    assert dicom_check.series_violations(tmp_path / "source", tmp_path / "thin") == []


def test_v11_slices_made_consistent_agree_within_a_stored_unit(tmp_path):
    """V-07 with what is written: where the derivation states the correction, the check allows one unit, half of it for
    rounding; splines alone do not pass it."""
    grid = grid_of(shape=(6, 20, 24))
    (tmp_path / "source").mkdir()
    fine = grid.with_slice_spacing(1.25)
    write_source(tmp_path / "source", averaged(pattern(fine), grid, fine, FIVE), grid)
    source = reading.read(tmp_path / "source")
    splines = resampling.resample(source.volume, fine, "spline")
    corrected = Volume(splines.values.copy(), fine)
    SliceConsistency(FIVE, grid, fine).correct(corrected.values, source.volume.values, level=1.0)
    product = thin_product(consistency="exact along the slice axis")
    write_series(source, corrected, tmp_path / "corrected", product, FIVE)
    write_series(source, splines, tmp_path / "splines", product, FIVE)
    assert dicom_check.series_violations(tmp_path / "source", tmp_path / "corrected") == []
    (line,) = dicom_check.series_violations(tmp_path / "source", tmp_path / "splines")
    assert line.startswith("V-11n")


def test_v11_texts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="200 characters"):
        thin_product(parameters="x" * 201)
    with pytest.raises(ValueError, match="1000 characters"):
        thin_product(parameters="x" * 200, uncertainty="y" * 240, applicability="z" * 240, consistency="c" * 100)
    with pytest.raises(ValueError, match="must be 1"):
        thin_product(scale=2)


def test_v11_the_rescale_of_a_source_keeps_its_bytes(tmp_path):
    """A slope of seventeen digits, as vendors write it, is not rounded where all slices have it."""

    def edit(ds, index):
        ds.add(pydicom.DataElement("RescaleSlope", "LO", "1.00000000000000001"))
        ds["RescaleSlope"].VR = "DS"
        ds.RescaleIntercept = 0

    made = derive(tmp_path, grid=grid_of(shape=(3, 8, 8)), make=mr, edit=edit)
    for file in made.folder.iterdir():
        assert b"1.00000000000000001" in file.read_bytes()
