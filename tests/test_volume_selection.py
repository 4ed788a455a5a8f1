"""Several slices at one place: what separates them is named and can be selected (V-02)."""

import numpy as np
import pytest
from dicom_sources import mr
from volume_sources import ORIGIN, decimals, normal, numbered, refusal, save, series

from tfmisr.edge.volumes import reading


@pytest.mark.parametrize(
    "differ,values,keyword",
    [
        (lambda i: {"EchoTime": [4.5, 90][i % 2]}, "4.5 or 90", "EchoTime"),
        (lambda i: {"TemporalPositionIdentifier": 1 + i % 2}, "1 or 2", "TemporalPositionIdentifier"),
        (lambda i: {"DiffusionBValue": 1000.0 * (i % 2)}, "0 or 1000", "DiffusionBValue"),
        (lambda i: {"NominalPercentageOfCardiacPhase": 35.0 + 40 * (i % 2)}, "35 or 75", "NominalPercentageOfCardiac"),
        (lambda i: {"TriggerTime": 50 + 10 * (i % 2)}, "50 or 60", "TriggerTime"),
        (lambda i: {"ImageType": ["ORIGINAL", "PRIMARY", "MP"[i % 2]]}, r"ORIGINAL\PRIMARY\M or", "ImageType"),
    ],
)
def test_v02_duplicate_positions_are_refused_with_what_can_be_selected(tmp_path, differ, values, keyword):
    place = lambda i: {"ImagePositionPatient": decimals(ORIGIN + 2.5 * (i // 2) * normal()), **differ(i)}  # noqa: E731
    save(tmp_path, series(8, kind=mr, each=place, BitsStored=16))
    message = refusal(tmp_path)
    assert "found 8 slices at 4 places: they differ in" in message
    assert f"choose with --select {keyword}" in message
    assert values in message
    full = message.partition("--select ")[2].partition("=")[0]
    for part in (0, 1):
        value = differ(part)[full]
        value = value[-1] if isinstance(value, list) else value
        source = reading.read(tmp_path, select=f"{full}={value}")
        np.testing.assert_array_equal(source.volume.values, numbered(8)[part::2])


@pytest.mark.parametrize(
    "creator,group,element,vr,encode",
    [
        ("SIEMENS MR HEADER", 0x0019, 0x0C, "IS", lambda b: b),
        ("GEMS_PARM_01", 0x0043, 0x39, "IS", lambda b: [1_000_000_000 + b, 8, 0, 0]),
        ("Philips Imaging DD 001", 0x2001, 0x03, "FL", float),
    ],
)
def test_v02_b_values_of_vendors_are_known(tmp_path, creator, group, element, vr, encode):
    data_sets = series(8, kind=mr, BitsStored=16)
    for i, ds in enumerate(data_sets):
        ds.ImagePositionPatient = decimals(ORIGIN + 2.5 * (i // 2) * normal())
        ds.private_block(group, creator, create=True).add_new(element, vr, encode([50, 800][i % 2]))
    save(tmp_path, data_sets)
    assert "choose with --select DiffusionBValue=... (DiffusionBValue: 50 or 800)" in refusal(tmp_path)
    assert reading.read(tmp_path, select={"DiffusionBValue": 800}).volume.values[0, 0, 0] == 1000


def test_v02_two_dimensions_are_named_together(tmp_path):
    def each(i):
        times = {"EchoTime": 10 * (1 + i % 2), "TriggerTime": 7 * (1 + i % 4 // 2)}
        return {"ImagePositionPatient": decimals(ORIGIN + 2.5 * (i // 4) * normal()), **times}

    save(tmp_path, series(12, kind=mr, each=each, BitsStored=16))
    assert "--select EchoTime=...,TriggerTime=... (EchoTime: 10 or 20; TriggerTime: 7 or 14)" in refusal(tmp_path)
    source = reading.read(tmp_path, select="EchoTime=20,TriggerTime=7")
    np.testing.assert_array_equal(source.volume.values, numbered(12)[1::4])


@pytest.mark.parametrize(
    "select,expected",
    [
        ("PatientName=x", "--select takes one of TemporalPositionIdentifier, "),
        ("EchoTime", "expected --select KEYWORD=VALUE"),
        ("EchoTime=3", "no slice has Echo Time (0018,0081) = 3; expected 1 or 2"),
    ],
)
def test_v02_a_selection_that_fits_no_slice_is_refused(tmp_path, select, expected):
    save(tmp_path, series(kind=mr, each=lambda i: {"EchoTime": 1 + i % 2}))
    assert expected in refusal(tmp_path, select=select)
