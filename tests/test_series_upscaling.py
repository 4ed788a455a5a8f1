"""`tfmisr.edge.volumes.series_upscaling` and the gateway's job around it: what is made, and what is refused (G-14)."""

import json
import math

import gateway_helpers
import numpy as np
import pydicom
import pytest
from gateway_series_helpers import FIRST, SLICES, SPACING, ct_series

import tfmisr
from tfmisr import dicom_check
from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import Volume, VolumeGrid, plane_model, series_upscaling
from tfmisr.gateway import series_work, spool

assert gateway_helpers  # skips these tests where the gateway is not installed


def job(folder, paths, **changes) -> dict:
    """What a process answers to a request."""
    store = spool.Spool(folder / "spool")
    store.create()
    values = {
        "sources": [str(path) for path in paths],
        "folder": str(store.incoming / "series-1"),
        "results": str(store.results),
        "prefix": "series-1",
        "spacing": "iso",
        "threads": 1,
        "memory": 4.0,
        "record_times": False,
    }
    return series_work.upscale(json.loads(series_work.request("spline", None, **values)) | changes)


def edited(path, **changes) -> None:
    ds = pydicom.dcmread(path)
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    ds.save_as(path)


def without(paths: list, *numbers: int) -> list:
    return [path for number, path in enumerate(paths) if number not in numbers]


def test_g14_a_series_that_is_made_again_has_the_same_bytes(tmp_path):
    """So that two nodes, or one that begins again after a crash, never give one UID two contents."""
    paths = ct_series(tmp_path / "ct")
    first = job(tmp_path, paths, spacing=3.0)["images"]
    assert len(first) == len({image["uid"] for image in first}) == 16
    (tmp_path / "spool" / "incoming" / "series-1").mkdir()  # of an attempt that was killed
    second = job(tmp_path, paths[::-1], spacing=3.0)["images"]
    assert second == first
    assert list((tmp_path / "spool" / "incoming").iterdir()) == []
    assert sorted(str(path) for path in (tmp_path / "spool" / "results").iterdir()) == [i["file"] for i in first]
    assert dicom_check.main([str(tmp_path / "ct"), str(tmp_path / "spool" / "results")]) == 0
    timed = job(tmp_path, paths, spacing=3.0, record_times=True)["images"]
    assert "InstanceCreationDate" in pydicom.dcmread(timed[0]["file"])
    assert [image["uid"] for image in timed] == [image["uid"] for image in first]


def test_v04_the_spacing_of_a_rule_need_not_divide_that_of_the_slices(tmp_path):
    """48 mm in slices of 3 mm: 16 of them, the first center 1.5 mm inside of the lower face."""
    images = job(tmp_path, ct_series(tmp_path / "ct"), spacing=3.0)["images"]
    z = [float(pydicom.dcmread(image["file"]).ImagePositionPatient[2]) for image in images]
    np.testing.assert_allclose(z, FIRST - SPACING / 2 + 1.5 + 3.0 * np.arange(16), atol=1e-4)


@pytest.mark.parametrize(
    ("drop", "change", "reason"),
    [
        ((5,), {}, "missing"),
        ((3, 7), {}, "missing"),
        (range(2, SLICES), {}, "at least 3 slices"),
        ((), {"PixelSpacing": [0.9, 0.9]}, "spacing"),
        ((), {"ImageOrientationPatient": [0, 1, 0, 1, 0, 0]}, "orientation"),
        ((), {"PatientID": "OTHER"}, "patients"),
        ((), {"SliceThickness": 2.0}, "thickness"),
        ((), {"ImagePositionPatient": [-12.4, -9.2, FIRST + SPACING]}, "12 slices at 11 places"),
        ((), {"ImagePositionPatient": [-12.4, -9.2, FIRST - 1.0]}, "spacing"),
        ((), {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "CT or MR"),
    ],
)
def test_g14_what_is_no_volume_is_refused_in_words_without_identifiers(tmp_path, drop, change, reason):
    paths = ct_series(tmp_path / "ct")
    edited(paths[0], **change)
    answer = job(tmp_path, without(paths, *drop))
    assert reason in answer["refused"].lower() or reason in answer["refused"]
    for identifier in ("1.2.826", "BALL", "OTHER", str(tmp_path), ".dcm"):
        assert identifier not in answer["refused"]
    assert list((tmp_path / "spool" / "results").iterdir()) == []


def test_g14_slices_that_are_thin_already_and_results_are_refused(tmp_path):
    paths = ct_series(tmp_path / "ct")
    assert "the slices are 4 mm apart, not more than 4 mm already" in job(tmp_path, paths, spacing=4.0)["refused"]
    made = [image["file"] for image in job(tmp_path, paths, spacing=3.0)["images"]]
    assert "already been" in job(tmp_path / "again", made)["refused"]


def test_g11_a_series_beyond_the_memory_is_refused_before_it_is_interpolated(tmp_path):
    answer = job(tmp_path, ct_series(tmp_path / "ct"), memory=0.3001)
    assert answer["refused"] == "60 x 24 x 32 voxels need more memory than the 0.3001 GB of the process"


def test_a_fault_of_the_network_or_the_spool_says_nothing_about_the_series(tmp_path):
    """An error, not a refusal: it is tried again, then quarantined, and can be released once it is repaired."""
    paths = ct_series(tmp_path / "ct")
    (tmp_path / "broken.tflite").write_bytes(b"no network")
    with pytest.raises(InputError):
        job(tmp_path, paths, method=str(tmp_path / "broken.tflite"))
    paths[3].unlink()
    with pytest.raises(FileNotFoundError):
        job(tmp_path, paths)


class Network:
    """In place of `plane_model.PlaneNetwork`: adds a wave along the slice axis to each plane."""

    name = "planes v1"
    card = {"weights_sha256": "ab" * 32, "profile": ["gaussian"], "ratio_range": [1.5, 2.5], "fwhm_range": [0.9, 1.1]}
    card |= {"slices": None, "spacing": None}

    def __init__(self, *_):
        pass

    def __call__(self, plane):
        return plane + np.float32(0.01) * np.cos(np.arange(len(plane), dtype=np.float32))[:, None, None]


@pytest.fixture
def network(monkeypatch, tmp_path) -> str:
    """The path of a network of planes."""
    monkeypatch.setattr(plane_model, "PlaneNetwork", Network)
    monkeypatch.setattr(series_upscaling, "check_method", lambda method: None)
    path = tmp_path / "planes.tflite"
    path.touch()
    return str(path)


def test_g14_a_network_makes_no_series_that_it_was_not_trained_for(tmp_path, network):
    answer = job(tmp_path, ct_series(tmp_path / "ct"), method=network)["refused"]
    assert answer.startswith(
        "planes v1 is for other volumes: slices 1.5 to 2.5 times the new spacing apart. Received: 5"
    )


def test_v07_a_network_adds_to_the_spline_and_agrees_with_the_acquired_slices(tmp_path, network):
    """Whatever it adds: averaged over the profile of the slices, the result is them again, within half a level."""
    paths = ct_series(tmp_path / "ct")
    made = series_upscaling.upscale_series(paths, tmp_path / "thin", network, 2.0, version=tfmisr.__version__)
    networks = [pydicom.dcmread(path) for path in made.paths]
    thin = np.stack([ds.pixel_array for ds in networks]).astype(float)
    for index in range(2, SLICES - 2):  # a Gaussian of FWHM 4 mm at the place of an acquired slice
        edges = (np.arange(25) * 2.0 - SPACING / 2 - index * SPACING) / (SPACING / 2.3548200450309493)
        weights = np.diff([0.5 * math.erf(edge / math.sqrt(2)) for edge in edges])
        again = np.tensordot(weights / weights.sum(), thin, 1)
        assert np.abs(again - pydicom.dcmread(paths[index]).pixel_array).max() <= 0.25 + 0.5  # dead zone and rounding
    assert networks[0].SeriesDescription == "SR 2 mm AI"
    assert "abababababab" in networks[0].DerivationDescription


def test_the_target_is_the_smaller_pixel_spacing_or_what_the_rule_says():
    axes = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    grid = VolumeGrid((4, 3, 3), (6.0, 1.5, 1.2), (0.0, 0.0, 0.0), axes)
    volume = Volume(np.zeros(grid.shape, np.float32), grid)
    assert series_upscaling.target_grid(volume, "iso").shape == (20, 3, 3)  # 24 mm / 1.2 mm
    assert series_upscaling.target_grid(volume, 2.0).spacing[0] == 2.0
    with pytest.raises(InputError, match="6 mm apart, not more than 6 mm"):
        series_upscaling.target_grid(volume, 6)


@pytest.mark.parametrize("flags", [["--method", "spline"], ["--model", "planes.tflite"]], ids=["spline", "network"])
def test_the_command_gives_the_same_images(tmp_path, network, flags):
    """The same UIDs and pixels, so that a series that was processed by both is one series."""
    from tfmisr import volume

    paths = ct_series(tmp_path / "ct")
    flags = [flag.replace("planes.tflite", network) for flag in flags]
    made = series_upscaling.upscale_series(paths, tmp_path / "gateway", flags[1], 2.5, version=tfmisr.__version__)
    assert volume.main([*map(str, paths), "--output", str(tmp_path / "command"), "--spacing", "2.5", *flags]) == 0
    ours, theirs = (
        {ds.SOPInstanceUID: ds.PixelData for ds in map(pydicom.dcmread, files)}
        for files in (made.paths, (tmp_path / "command").iterdir())
    )
    assert ours == theirs
