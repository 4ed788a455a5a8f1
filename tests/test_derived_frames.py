"""Cine objects that are not enhanced stay cine objects: angiography, fluoroscopy, MR."""

import tracemalloc

import numpy as np
import pydicom
import pytest
from dicom_bytes import flat, parsed, plain, written
from dicom_sources import WHEN, bicubic, cine, derive, image, mr_cine, nearest, product, rf, values, xa
from pydicom import uid
from pydicom.datadict import tag_for_keyword

from tfmisr import dicom_check
from tfmisr.edge import derived

KEPT = (
    "NumberOfFrames FrameIncrementPointer FrameTime FrameTimeVector CineRate RecommendedDisplayFrameRate "
    "RepresentativeFrameNumber RWavePointer PositionerMotion PositionerPrimaryAngle PositionerPrimaryAngleIncrement "
    "PositionerSecondaryAngleIncrement HeartRate InstanceNumber PixelIntensityRelationship"
).split()


@pytest.mark.parametrize("make", [xa, rf, mr_cine])
@pytest.mark.parametrize("frames", [1, 3])
def test_every_frame_is_upscaled_in_its_place(tmp_path, make, frames):
    source = make(frames)
    derived.write(derive(source, 3, nearest(3)), tmp_path / "sr")
    sr = pydicom.dcmread(tmp_path / "sr")
    assert (int(sr.NumberOfFrames), sr.Rows, sr.Columns) == (frames, 72, 96)
    expected = values(source).repeat(3, axis=1).repeat(3, axis=2)
    np.testing.assert_array_equal(values(sr), expected)
    assert len(np.unique(values(sr).mean(axis=(1, 2, 3)))) == frames


@pytest.mark.parametrize("make", [xa, rf, mr_cine])
def test_time_and_motion_of_the_frames_keep_their_bytes(tmp_path, make):
    source = make()
    derived.write(derive(source), tmp_path / "sr")
    before, after = flat(parsed(plain(source))), flat(written(tmp_path / "sr"))
    tags = [f"/{tag_for_keyword(keyword):08X}" for keyword in KEPT]
    assert {tag: before[tag] for tag in tags if tag in before} == {tag: after[tag] for tag in tags if tag in after}


def test_d10_image_type_follows_the_iod():
    assert list(derive(xa()).ImageType) == ["DERIVED", "SECONDARY", "SINGLE PLANE", "AI_SR"]
    assert list(derive(xa(ImageType=["ORIGINAL", "PRIMARY"])).ImageType) == ["DERIVED", "SECONDARY"]
    assert list(derive(mr_cine()).ImageType) == ["DERIVED", "SECONDARY", "M", "AI_SR"]


def test_d24_d29_what_is_in_pixel_coordinates_follows_the_scale():
    sr = derive(xa())
    assert list(sr.ImagerPixelSpacing) == [0.1, 0.05]
    assert sr.ShutterLeftVerticalEdge == 7
    mask = sr.MaskSubtractionSequence[0]
    assert list(mask.MaskSubPixelShift) == [1.0, -0.5]  # the same way in the patient
    assert (mask.MaskFrameNumbers, list(mask.ApplicableFrameRange)) == (1, [2, 3])
    moved = derive(mr_cine())
    shift = -0.25 * (0.5 * np.array([0.8, 0.6, 0]) + 0.7 * np.array([-0.36, 0.48, 0.8]))
    np.testing.assert_allclose(np.array(moved.ImagePositionPatient, float), np.array([1, 2, 3]) + shift, atol=1e-6)


def test_d36_an_overlay_of_several_frames_is_enlarged_frame_by_frame():
    source, bits = xa(), np.random.default_rng(0).integers(0, 2, (2, 6, 10), np.uint8)
    block = {0x10: ("US", 6), 0x11: ("US", 10), 0x15: ("IS", 2), 0x40: ("CS", "G"), 0x50: ("SS", [3, 5])}
    block |= {0x51: ("US", 2), 0x100: ("US", 1), 0x102: ("US", 0)}
    for element, (vr, value) in block.items():
        source.add_new((0x6000, element), vr, value)
    source.add_new((0x6000, 0x3000), "OW", np.packbits(bits, bitorder="little").tobytes())
    sr = derive(source, 3, overlays="nearest")
    assert (sr[0x6000, 0x15].value, sr[0x6000, 0x51].value) == (2, 2)  # two frames, from the second of the image
    got = np.unpackbits(np.frombuffer(sr[0x6000, 0x3000].value, np.uint8), bitorder="little")[: 2 * 18 * 30]
    np.testing.assert_array_equal(got.reshape(2, 18, 30), bits.repeat(3, axis=1).repeat(3, axis=2))


def test_one_frame_is_in_memory_beside_the_result():
    frame = np.zeros((64, 64), np.uint16)
    count = 60
    pixels = frame.tobytes() * count
    source = cine(uid.XRayAngiographicImageStorage, "XA", NumberOfFrames=count, PixelData=pixels)
    source.Rows, source.Columns = frame.shape
    tracemalloc.start()
    sr = derive(source, 2, nearest())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(sr.PixelData) == 4 * len(pixels)
    assert peak < 1.7 * len(sr.PixelData)  # all as float32 would be twice as much again


def test_a_cine_of_a_real_angiogram(tmp_path, shared_data):
    still = pydicom.dcmread(shared_data / "dicom" / "nema_XA1_RLE.dcm").pixel_array
    frames = np.stack([still[300 + 4 * n : 556 + 4 * n, 300:556] for n in range(4)])
    source = xa(4, PixelData=frames.tobytes(), Rows=256, Columns=256)
    source.save_as(tmp_path / "source", enforce_file_format=True)
    sr = derived.derive(tmp_path / "source", bicubic(), product(mean_limit=0.5, p99_limit=0.2), WHEN)
    derived.write(sr, tmp_path / "sr")
    assert dicom_check.violations(tmp_path / "source", tmp_path / "sr") == []
    for number in range(4):
        alone = derive(image(uid.XRayAngiographicImageStorage, "XA", frames[number], BitsStored=10))
        np.testing.assert_array_equal(values(sr)[number], values(alone)[0])
