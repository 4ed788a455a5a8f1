"""Real DICOM files become valid derived ones: read back, compared with the source, and evaluated by dicom3tools."""

import functools
import logging
import pathlib
import re
import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from dicom_sources import (
    WHEN,
    bicubic,
    cr,
    ct,
    derive,
    dx,
    enhanced_ct,
    mr,
    mr_cine,
    product,
    rf,
    secondary,
    smooth,
    us,
    xa,
)
from pydicom import uid

from tfmisr import dicom_check
from tfmisr.edge import derived, dicom

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # about the values of old sources


def error_lines(path):
    """dciodvfy's errors without the numbers of items, which shift when an item is appended."""
    out = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, errors="replace")
    lines = [line for line in (out.stdout + out.stderr).splitlines() if line.startswith("Error")]
    return {re.sub(r"\[\d+\]", "[]", line) for line in lines}


def new_errors(source, result):
    """Errors of the result that the source does not have, or quotes a wrong value of the source in its own place."""
    before = error_lines(source)
    wrong = {value for line in before for value in re.findall(r"= <(.*)>$", line)}
    return {line for line in error_lines(result) - before if not any(f"<{value}>" in line for value in wrong)}


needs_dciodvfy = pytest.mark.skipif(not shutil.which("dciodvfy"), reason="no dciodvfy; apt-get install dicom3tools")

SYNTHETIC = {
    "CT": ct,
    "MR": mr,
    "CR": cr,
    "DX": dx,
    "US": us,
    "SC": lambda: secondary(smooth(dtype=np.uint8, low=0, high=255)),
    "MG": lambda: dx(SOPClassUID=uid.DigitalMammographyXRayImageStorageForPresentation, Modality="MG"),
    "XA": lambda: cr(SOPClassUID=uid.XRayAngiographicImageStorage, Modality="XA"),
    "XA of one plane": lambda: cr(
        SOPClassUID=uid.XRayAngiographicImageStorage, Modality="XA", ImageType=["ORIGINAL", "PRIMARY", "SINGLE PLANE"]
    ),
    "RF": lambda: cr(SOPClassUID=uid.XRayRadiofluoroscopicImageStorage, Modality="RF"),
    "PET": lambda: ct(SOPClassUID=uid.PositronEmissionTomographyImageStorage, Modality="PT", Units="BQML"),
    "US of several frames": lambda: us_of_two_frames(),
    "XA of several frames": xa,
    "RF of several frames": rf,
    "MR of several frames": mr_cine,
    "Enhanced CT": enhanced_ct,
    "Enhanced CT, all per frame": lambda: enhanced_ct(shared=False),
    "Enhanced MR": lambda: enhanced_mr(),
}


def us_of_two_frames():
    frames = us().PixelData * 2
    return us(NumberOfFrames=2, PixelData=frames, SOPClassUID=uid.UltrasoundMultiFrameImageStorage)


def enhanced_mr(**fields):
    source = enhanced_ct(SOPClassUID=uid.EnhancedMRImageStorage, Modality="MR", **fields)
    for group in source.PerFrameFunctionalGroupsSequence:
        group.MRImageFrameTypeSequence = group.CTImageFrameTypeSequence
        del group.CTImageFrameTypeSequence
    return source


@needs_dciodvfy
@pytest.mark.parametrize("name", SYNTHETIC)
@pytest.mark.parametrize("fields", [{}, {"keep_manufacturer": True, "research": True}, {"lossless": "jpeg_ls"}])
def test_dciodvfy_finds_no_error_that_the_source_has_not(tmp_path, name, fields):
    source = SYNTHETIC[name]()
    source.save_as(tmp_path / "source", enforce_file_format=True)
    derived.write(derive(source, 3, **fields), tmp_path / "sr")
    assert new_errors(tmp_path / "source", tmp_path / "sr") == set()
    assert dicom_check.violations(tmp_path / "source", tmp_path / "sr") == []


@needs_dciodvfy
def test_dciodvfy_accepts_the_derived_image_of_a_valid_source(tmp_path):
    source = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm"))
    source.PixelPaddingValue = -2000
    derived.write(derive(source), tmp_path / "sr")
    assert error_lines(tmp_path / "sr") <= error_lines(source.filename)


@needs_dciodvfy
@pytest.mark.parametrize("when", [WHEN, None])
def test_d04_dcentvfy_finds_no_contradiction_in_a_series(tmp_path, shared_data, when):
    for number, path in enumerate(sorted((shared_data / "ct").glob("lungdx_Lung_Dx-A0001*"))):
        derived.write(derived.derive(path, bicubic(), product(), when), tmp_path / f"{number}.dcm")
    files = sorted(tmp_path.iterdir())
    assert len(files) == 6
    assert len({pydicom.dcmread(file).SeriesInstanceUID for file in files}) == 1
    done = subprocess.run(["dcentvfy", *files], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


LARGE = 3_000_000  # pixels
FOLDERS = {"dicom": 30, "ct": 22, "mr": 30}


@functools.cache
def files_of(folder):
    return sorted(path for path in folder.iterdir() if path.is_file())


def source_file(shared_data, folder, number):
    files = files_of(shared_data / folder)
    if number >= len(files):
        pytest.skip(f"{folder} has {len(files)} files only")
    return files[number]


@pytest.mark.parametrize("folder, number", [(f, n) for f, count in FOLDERS.items() for n in range(count)])
def test_every_real_file_becomes_a_valid_derived_one_or_is_refused_by_name(
    shared_data, tmp_path, folder, number, pytestconfig
):
    path = source_file(shared_data, folder, number)
    header = dicom.read_header(path)
    if header.Rows * header.Columns > LARGE and not pytestconfig.getoption("--run_large"):
        pytest.skip("takes seconds; add --run_large")
    reason = dicom.unsupported(header)
    limits = {"mean_limit": 0.5, "p99_limit": 0.2}  # the defaults
    if reason:
        assert "Transfer Syntax" in reason  # JPEG Lossless without python-gdcm
        with pytest.raises(derived.image.InputError, match=re.escape(reason)):
            derived.derive(path, bicubic(), product(**limits), WHEN)
        return
    target = tmp_path / "sr.dcm"
    derived.write(derived.derive(path, bicubic(), product(**limits), WHEN), target)
    assert dicom_check.violations(path, target) == []
    if shutil.which("dciodvfy"):
        assert new_errors(path, target) == set()


def test_the_number_of_real_files_is_as_listed(shared_data):
    assert {name: len(files_of(shared_data / name)) for name in FOLDERS} == FOLDERS


def test_dcmtk_reads_the_pixels_of_a_derived_image(tmp_path, shared_data):
    if not shutil.which("dcm2pnm"):
        pytest.skip("no DCMTK; install it with apt-get install dcmtk")
    source = shared_data / "dicom" / "dwv_CR-MONO1-10-chest_EVRLE.dcm"
    derived.write(derived.derive(source, bicubic(), product(), WHEN), tmp_path / "sr.dcm")
    subprocess.run(["dcm2pnm", "+opw", tmp_path / "sr.dcm", tmp_path / "sr.pgm"], check=True, capture_output=True)
    kind, width, height, _, *rendered = (tmp_path / "sr.pgm").read_text().split()
    assert (kind, width, height) == ("P2", "880", "880")
    shown = np.array(rendered, int).reshape(880, 880)
    assert shown[120:320, 420:460].mean() > shown[200:400, 180:260].mean()  # spine and lung of a MONOCHROME1 chest


def test_no_name_of_a_patient_gets_into_the_log(shared_data, tmp_path, caplog):
    with caplog.at_level(logging.DEBUG):
        for path in files_of(shared_data / "dicom"):
            if path.stat().st_size > 400_000:
                continue
            name = str(dicom.read_header(path).get("PatientName") or "nobody")
            try:
                derived.derive(path, bicubic(), product(p99_limit=None), WHEN)
            except derived.image.InputError as error:
                assert name not in str(error)
            assert name not in caplog.text


def test_pathlib_and_str_are_both_paths(tmp_path):
    ct().save_as(tmp_path / "source", enforce_file_format=True)
    for kind in (str, pathlib.Path):
        assert derived.derive(kind(tmp_path / "source"), bicubic(), product(), WHEN).Rows == 48
