"""Where tensorflow-io's DICOM decoder gives pydicom's values, and that it is used nowhere else."""

import sys

import numpy as np
import pydicom
import pytest
from dicom_sources import data_set
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array
from pydicom.sequence import Sequence

from tfmisr.data import tfio_dicom
from tfmisr.edge import dicom
from tfmisr.edge.errors import InputError

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def tfio():
    reason = "needs tensorflow-io: pip install 'tfmisr[train,tfio]'"
    return pytest.importorskip("tensorflow_io", exc_type=ImportError, reason=reason)


@pytest.fixture
def file(tmp_path):
    def write(pixels, **attributes):
        ds = data_set(pixels, **attributes)
        ds.save_as(tmp_path / "image.dcm", enforce_file_format=True)
        return tmp_path / "image.dcm"

    return write


def decoded(path):
    (image,) = tfio_dicom.dataset([path]).as_numpy_iterator()
    return image


def rendered(path):
    """What tensorflow-io gives unasked: the values, or `None` where it fails."""
    try:
        return tfio_dicom._decode(path.read_bytes()).numpy()
    except Exception:  # noqa: BLE001
        return None


def equals_pydicom(path, values):
    stored = pixel_array(pydicom.dcmread(path)).astype(np.int64)
    return stored.size == values.size and np.array_equal(stored.reshape(values.shape), values)


def test_without_tensorflow_io_the_extra_that_brings_it_is_named(monkeypatch, file):
    monkeypatch.setitem(sys.modules, "tensorflow_io", None)  # as where it is not installed
    with pytest.raises(InputError, match=r"pip install 'tfmisr\[train,tfio\]'"):
        tfio_dicom.dataset([file(np.zeros((4, 4), np.uint8))])


@pytest.mark.parametrize("bits", [1, 5, 8, 9, 10, 12, 14, 15, 16])
def test_unsigned_gray_of_any_depth_equals_pydicom(tfio, file, bits):
    dtype = np.uint8 if bits <= 8 else np.uint16
    path = file(RNG.integers(0, 2**bits, (31, 41)).astype(dtype), BitsStored=bits)
    assert equals_pydicom(path, decoded(path))


@pytest.mark.parametrize(
    "attributes",
    [
        {"RescaleSlope": 1, "RescaleIntercept": 0},
        {"WindowCenter": 500, "WindowWidth": 100, "Modality": "CT"},
        {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 100},
        {"PixelAspectRatio": [1, 2]},
        {"PresentationLUTShape": "IDENTITY"},
    ],
)
def test_windows_padding_and_unit_rescale_change_nothing(tfio, file, attributes):
    path = file(RNG.integers(0, 4096, (32, 40)).astype(np.uint16), BitsStored=12, **attributes)
    assert equals_pydicom(path, decoded(path))


def test_unused_high_bits_are_masked_by_both(tfio, file):
    path = file(RNG.integers(0, 65536, (32, 40)).astype(np.uint16), BitsStored=12)
    assert decoded(path).max() < 4096
    assert equals_pydicom(path, decoded(path))


@pytest.mark.parametrize("planar", [0, 1])
def test_rgb_equals_pydicom(tfio, file, planar):
    path = file(RNG.integers(0, 256, (32, 40, 3)).astype(np.uint8), PlanarConfiguration=planar)
    assert equals_pydicom(path, decoded(path))


def lut():
    item = Dataset()
    item.LUTDescriptor = [2, 0, 16]
    item.add_new("LUTData", "US", [0, 60000])
    return Sequence([item])


@pytest.mark.parametrize(
    "attributes, words",
    [
        ({"PhotometricInterpretation": "MONOCHROME1"}, "MONOCHROME1"),
        ({"RescaleSlope": 2, "RescaleIntercept": 0}, "Rescale"),
        ({"RescaleSlope": 1, "RescaleIntercept": -1024}, "Rescale"),
        ({"ModalityLUTSequence": lut()}, "Modality LUT"),
        ({"PresentationLUTShape": "INVERSE"}, "Presentation LUT"),
        ({"PixelRepresentation": 1}, "signed"),
    ],
)
def test_what_changes_values_is_refused_by_name(tfio, file, attributes, words):
    path = file(RNG.integers(0, 4096, (32, 40)).astype(np.uint16), BitsStored=12, **attributes)
    values = rendered(path)
    assert values is None or not equals_pydicom(path, values)
    with pytest.raises(InputError, match=rf"image\.dcm: tensorflow-io would change .*{words}"):
        tfio_dicom.dataset([path])


def test_an_overlay_that_would_be_painted_into_the_image_is_refused(tfio, file):
    path = file(
        np.full((8, 8), 100, np.uint16),
        BitsStored=12,
    )
    ds = pydicom.dcmread(path)
    ds.add_new(0x60000010, "US", 8)
    ds.add_new(0x60000011, "US", 8)
    ds.add_new(0x60000040, "CS", "G")
    ds.add_new(0x60000050, "SS", [1, 1])
    ds.add_new(0x60000100, "US", 1)
    ds.add_new(0x60000102, "US", 0)
    ds.add_new(0x60003000, "OW", b"\xff" * 8)
    ds.save_as(path)
    assert not equals_pydicom(path, rendered(path))
    assert tfio_dicom.mismatch(ds) == "overlay"


@pytest.mark.filterwarnings("ignore:Incorrect value for Specific Character Set")
@pytest.mark.parametrize("folder", ["dicom", "ct", "mr"])
def test_the_predicate_holds_on_real_files(tfio, shared_data, folder):
    matching = 0
    for path in sorted((shared_data / folder).iterdir()):
        ds = dicom.read_header(path)
        if tfio_dicom.matches(ds):
            matching += 1
            values = decoded(path)
            assert values.shape == (values.shape[0], ds.Rows, ds.Columns, ds.SamplesPerPixel)
            if dicom.unsupported(ds) is None:
                assert equals_pydicom(path, values), path.name
    assert matching == {"dicom": 7, "ct": 0, "mr": 16}[folder]


@pytest.mark.filterwarnings("ignore:Incorrect value for Specific Character Set")
def test_no_real_file_that_differs_passes_the_predicate(tfio, shared_data):
    differing = []
    for path in sorted((shared_data / "dicom").iterdir()):
        ds = dicom.read_header(path)
        values = rendered(path)
        if dicom.unsupported(ds) is None and (values is None or not equals_pydicom(path, values)):
            assert not tfio_dicom.matches(ds), path.name
            differing.append(path.name)
    assert len(differing) >= 15


def test_files_are_decoded_in_a_graph_in_the_given_order(tfio, tmp_path, file):
    first = file(np.full((4, 4), 7, np.uint8)).rename(tmp_path / "first.dcm")
    second = file(np.full((6, 5), 9, np.uint8))
    low, high = tfio_dicom.dataset([first, second]).as_numpy_iterator()
    assert low.shape == (1, 4, 4, 1) and high.shape == (1, 6, 5, 1)
    assert (low.max(), high.max()) == (7, 9)
