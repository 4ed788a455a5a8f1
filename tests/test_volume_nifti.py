"""NIfTI volumes: geometry against nibabel, values, refusals, and writing (V-01, V-12)."""

import gzip
import struct
import tracemalloc

import nibabel
import numpy as np
import pytest
from volume_sources import numbered, save, series

from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import Volume, nifti, reading

LPS = np.diag([-1, -1, 1, 1])


def rotation(x, y, z):
    turns = np.eye(3)
    for axis, angle in enumerate((x, y, z)):
        turn = np.eye(3)
        a, b = [i for i in range(3) if i != axis]
        turn[[a, b], [a, b]] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        turns = turns @ turn
    return turns


def affine(spacing=(0.8, 0.9, 4.0), angles=(0.1, -0.2, 0.3), flips=(1, 1, 1), origin=(-90.0, 30.5, 12.25)):
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(*angles) * (np.array(spacing) * flips)
    matrix[:3, 3] = origin
    return matrix


def values(shape=(7, 6, 5), dtype=np.int16):
    return np.random.default_rng(0).integers(0, 1000, shape).astype(dtype)


def write(path, data, matrix=None, sform=1, qform=1, slope=None, kind=nibabel.Nifti1Image, unit="mm"):
    image = kind(data, affine() if matrix is None else matrix)
    image.set_sform(image.affine, sform)
    image.set_qform(image.affine, qform)
    image.header.set_xyzt_units(unit)
    if slope:
        image.header.set_slope_inter(*slope)
    nibabel.save(image, path)
    return path


def world(grid, axes, index):
    """RAS coordinates of an index (i, j, k) of the file, by the grid of the volume."""
    return LPS[:3, :3] @ grid.position(*(index[axis] for axis in axes))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_v01_geometry_and_values_are_those_of_nibabel(tmp_path, suffix, kind, flips, axis):
    spacing = [0.8, 0.9, 0.85]
    spacing[axis] = 4.0
    path = write(tmp_path / f"a{suffix}", values(), affine(spacing, flips=flips), kind=kind)
    source, image = reading.read(path), nibabel.load(path)
    assert source.axes[0] == axis
    np.testing.assert_array_equal(source.volume.values, image.get_fdata().transpose(source.axes))
    for index in ((0, 0, 0), (6, 5, 4), (3, 1, 2)):
        np.testing.assert_allclose(world(source.volume.grid, source.axes, index),
                                   (image.affine @ (*index, 1))[:3], atol=1e-5)  # fmt: skip
    assert source.volume.grid.spacing[0] == pytest.approx(4)


@pytest.mark.parametrize("spacing,axis", [((1, 1, 1), 2), ((1, 3, 3), 2), ((3, 1, 1), 0), ((1.004, 1, 1), 2)])
def test_v01_slice_axis_has_the_largest_spacing_or_is_the_last(tmp_path, spacing, axis):
    path = write(tmp_path / "a.nii", values(), affine(spacing))
    assert reading.read(path).axes[0] == axis
    assert reading.read(path, slice_axis=1).axes == (1, 2, 0)
    with pytest.raises(InputError, match="expected --slice_axis 0, 1 or 2"):
        reading.read(path, slice_axis=3)


def test_v01_scl_slope_big_endian_and_units_are_applied(tmp_path):
    image = nibabel.Nifti1Image(values(dtype=">i2"), affine(), nibabel.Nifti1Header(endianness=">"))
    image.header.set_slope_inter(0.5, -10)
    image.header.set_xyzt_units("micron")
    image.header.set_data_dtype(">i2")
    nibabel.save(image, tmp_path / "a.nii")
    loaded, source = nibabel.load(tmp_path / "a.nii"), reading.read(tmp_path / "a.nii")
    np.testing.assert_allclose(source.volume.values, loaded.get_fdata().transpose(2, 1, 0), rtol=1e-6)
    assert source.volume.grid.spacing[0] == pytest.approx(0.004)


def test_v01_a_volume_of_four_dimensions_is_selected(tmp_path):
    data = values((7, 6, 5, 3))
    path = write(tmp_path / "a.nii.gz", data)
    for select in (2, "2"):
        np.testing.assert_array_equal(reading.read(path, select=select).volume.values, data[..., 2].T)
    for select, received in ((None, "no --select"), ("3", "--select 3"), ("-1", "--select -1"), ("x", "--select x")):
        with pytest.raises(InputError, match=f"has 3 volumes: expected --select 0 to 2. Received: {received}"):
            reading.read(path, select=select)
    np.testing.assert_array_equal(reading.read(write(tmp_path / "b.nii", data[..., :1])).volume.values, data[..., 0].T)


def sheared():
    matrix = affine()
    matrix[:3, 2] += 0.1 * matrix[:3, 1]
    return matrix


@pytest.mark.parametrize(
    "make,expected",
    [
        (lambda p: write(p, values(), sheared(), qform=0), "a sheared affine, 1.29 degrees off"),
        (lambda p: write(p, values((7, 6, 5, 2, 2))), "expected three or four dimensions. Received: 5"),
        (lambda p: write(p, values((7, 6, 2))), "expected at least 3 slices along axis 2 of the file. Received: 2"),
        (lambda p: write(p, values((7, 6))), "expected at least 3 slices along axis 2 of the file. Received: 1"),
        (
            lambda p: write(p, np.where(values() > 900, np.nan, 1).astype(np.float32)),
            "expected finite values. Received",
        ),
        (lambda p: write(p, values().astype(np.complex64)), "expected integers or floating-point numbers"),
        (lambda p: write(p, values().astype([("R", "u1"), ("G", "u1"), ("B", "u1")])), "Received: RGB"),
        (lambda p: p.write_bytes(b"\0" * 400), "expected a NIfTI file, found something else"),
        (lambda p: p.write_bytes(b""), "expected a NIfTI file, found something else"),
    ],
)
def test_input_that_is_no_volume_is_refused(tmp_path, make, expected):
    path = tmp_path / "a.nii"
    make(path)
    with pytest.raises(InputError, match=expected) as raised:
        reading.read(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_an_affine_without_inverse_is_refused(tmp_path, value):
    path = write(tmp_path / "a.nii", values(), qform=0)
    content = bytearray(path.read_bytes())
    for place in (280, 296, 312):  # the first column of srow_x, srow_y, srow_z
        content[place : place + 4] = struct.pack("<f", value)
    path.write_bytes(content)
    with pytest.raises(InputError, match="the affine is not finite or has no inverse"):
        reading.read(path)


def test_labels_are_refused(tmp_path):
    image = nibabel.Nifti1Image(values(dtype=np.uint8), affine())
    image.header.set_intent("label")
    nibabel.save(image, tmp_path / "a.nii")
    with pytest.raises(InputError, match="expected an image, found labels"):
        reading.read(tmp_path / "a.nii")


@pytest.mark.parametrize(
    "place,format_,value,expected",
    [
        (42, "<3h", (32767, 32767, 32767), "expected at most 1073741824 voxels"),
        (42, "<3h", (1000, 1000, 1000), "the file is shorter than its header says"),
        (42, "<3h", (-1, 6, 5), "the dimensions in the header must be positive"),
        (40, "<h", (0,), "the dimensions in the header must be positive"),
        (108, "<f", (1e9,), "expected values within the first"),
        (70, "<h", (77,), "broken or unsupported NIfTI"),
    ],
)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_hostile_headers_are_refused_with_bounded_memory(tmp_path, suffix, place, format_, value, expected):
    content = bytearray(write(tmp_path / "b.nii", values()).read_bytes())
    content[place : place + struct.calcsize(format_)] = struct.pack(format_, *value)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(gzip.compress(content) if suffix == ".nii.gz" else content)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=expected):
            reading.read(path)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_truncated_file_is_refused(tmp_path, suffix):
    path = write(tmp_path / f"a{suffix}", values((20, 20, 20)))
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(InputError, match="truncated or broken|shorter than its header says"):
        reading.read(path)


def thin(source, ratio=3):
    """The volume with each slice repeated: the first and the last new slice lie within the old ones."""
    grid = source.volume.grid.with_slice_spacing(source.volume.grid.spacing[0] / ratio)
    return Volume(np.repeat(source.volume.values, ratio, axis=0), grid)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("codes", [(1, 1), (4, 1), (2, 0), (0, 1), (0, 0)])
def test_v12_affines_are_exact_and_codes_are_kept(tmp_path, axis, codes):
    spacing = [0.8, 0.9, 0.85]
    spacing[axis] = 4.0
    image = nibabel.Nifti1Image(values(), affine(spacing))
    image.set_sform(affine(spacing, angles=(0, 0, 0.5)), codes[0])  # sform and qform differ
    image.set_qform(affine(spacing), codes[1])
    nibabel.save(image, tmp_path / "a.nii")
    source = reading.read(tmp_path / "a.nii")
    assert nifti.write(tmp_path / "b.nii.gz", thin(source), source) == 0
    old, new = nibabel.load(tmp_path / "a.nii"), nibabel.load(tmp_path / "b.nii.gz")
    assert (int(new.header["sform_code"]), int(new.header["qform_code"])) == codes
    take = [slice(None)] * 3
    take[source.axes[0]] = slice(1, None, 3)
    np.testing.assert_array_equal(new.get_fdata()[tuple(take)], old.get_fdata())
    for index in ((0, 0, 0), (6, 5, 4)):
        place = list(index)
        place[source.axes[0]] = 3 * index[source.axes[0]] + 1  # the middle of three new slices
        for matrix in ("get_sform", "get_qform"):
            a, b = getattr(new, matrix)(), getattr(old, matrix)()
            np.testing.assert_allclose(a @ (*place, 1), b @ (*index, 1), atol=2e-5)
        np.testing.assert_allclose(new.affine @ (*place, 1), old.affine @ (*index, 1), atol=2e-5)
    for name in ("quatern_b", "quatern_c", "quatern_d"):
        assert new.header[name] == old.header[name]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("slope", [None, (0.25, -7.0)])
def test_v12_data_type_and_slope_are_kept(tmp_path, dtype, slope):
    if slope and np.dtype(dtype).kind == "f":
        slope = None  # nibabel writes floating-point numbers without a slope
    path = write(tmp_path / "a.nii", (values() % 256).astype(dtype), slope=slope, unit="unknown")
    source = reading.read(path)
    nifti.write(tmp_path / "b.nii", source.volume, source)
    old, new = nibabel.load(path), nibabel.load(tmp_path / "b.nii")
    np.testing.assert_array_equal(new.dataobj.get_unscaled(), old.dataobj.get_unscaled())
    assert new.get_data_dtype() == old.get_data_dtype()
    assert new.header.get_slope_inter() == old.header.get_slope_inter()
    assert new.header.get_xyzt_units() == old.header.get_xyzt_units()
    assert (new.affine == old.affine).all()


def test_v12_values_are_rounded_and_clipped_ones_counted(tmp_path):
    source = reading.read(write(tmp_path / "a.nii", (values() % 256).astype(np.uint8)))
    changed = source.volume.values.copy()
    changed[0, 0, :4] = [255.6, -0.7, 255.4, 254.5]
    assert nifti.write(tmp_path / "b.nii", Volume(changed, source.volume.grid), source) == 2
    assert nibabel.load(tmp_path / "b.nii").get_fdata()[:4, 0, 0].tolist() == [255, 0, 255, 254]


def test_v12_files_are_deterministic_and_appear_atomically(tmp_path):
    source = reading.read(write(tmp_path / "a.nii", values()))
    nifti.write(tmp_path / "b.nii.gz", source.volume, source)
    nifti.write(tmp_path / "c.nii.gz", source.volume, source)
    content = (tmp_path / "b.nii.gz").read_bytes()
    assert content == (tmp_path / "c.nii.gz").read_bytes()
    assert content[4:8] == bytes(4)  # the time of RFC 1952
    bad = source.volume.values.copy()
    bad[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="expected finite values to write"):
        nifti.write(tmp_path / "d.nii", Volume(bad, source.volume.grid), source)
    with pytest.raises(InputError, match=r"expected an output .nii or .nii.gz. Received: d.mha"):
        nifti.write(tmp_path / "d.mha", source.volume, source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nii", "b.nii.gz", "c.nii.gz"]


def test_v12_slice_timing_and_extensions_are_dropped(tmp_path):
    image = nibabel.Nifti1Image(values(), affine())
    image.header.set_dim_info(slice=2)
    image.header["slice_code"], image.header["slice_end"], image.header["slice_duration"] = 1, 4, 0.1
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Doe^Jane"))
    nibabel.save(image, tmp_path / "a.nii")
    source = reading.read(tmp_path / "a.nii")
    np.testing.assert_array_equal(source.volume.values, values().T)
    nifti.write(tmp_path / "b.nii", source.volume, source)
    new = nibabel.load(tmp_path / "b.nii")
    assert (new.header["slice_code"], new.header["slice_duration"], len(new.header.extensions)) == (0, 0, 0)
    assert new.header.get_dim_info() == (None, None, 2)


def test_v12_a_dicom_series_becomes_nifti_in_its_place(tmp_path):
    source = reading.read(save(tmp_path / "series", series()))
    nifti.write(tmp_path / "a.nii.gz", source.volume, source)
    image = nibabel.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(image.get_fdata(), numbered(5).T)
    assert image.get_data_dtype() == np.int16
    for index in ((0, 0, 0), (7, 5, 4)):
        expected = LPS[:3, :3] @ source.volume.grid.position(*index[::-1])
        np.testing.assert_allclose((image.affine @ (*index, 1))[:3], expected, atol=1e-5)
        np.testing.assert_allclose((image.get_qform() @ (*index, 1))[:3], expected, atol=1e-4)


def test_v01_options_of_the_other_kind_are_refused(tmp_path):
    path = write(tmp_path / "a.nii", values())
    for options in ({"series": "1"}, {"resample_tilt": True}):
        with pytest.raises(InputError, match="is for DICOM"):
            reading.read(path, **options)
    with pytest.raises(InputError, match="expected one NIfTI file. Received: 2 paths"):
        reading.read([path, path])
    with pytest.raises(InputError, match="--slice_axis is for NIfTI"):
        reading.read(save(tmp_path / "series", series()), slice_axis=1)
