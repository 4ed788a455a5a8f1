"""Rules with a volume method: what `check` says, what is refused, what an object says about its series (G-14, G-19)."""

import dataclasses

import gateway_helpers
import pydicom
import pytest
from gateway_queue_helpers import read

from tfmisr.edge.errors import InputError
from tfmisr.gateway import checking, conformance, rules
from tfmisr.gateway.schema import Member


def test_g19_check_says_when_a_series_is_complete_and_what_follows(tmp_path):
    settings = read(tmp_path, 'volume = "spline"\nspacing = 1\ncomplete_after_seconds = 90\nexpected_images = 24')
    line = next(line for line in checking.report(settings) if line.startswith("rule 1"))
    assert "(24 images, else 90 s without a new image) the slices at 1 mm by spline" in line
    settings = read(tmp_path, 'volume = "spline"\nexpected_images = "ImagesInAcquisition"')
    assert "ImagesInAcquisition images, else 60 s" in "\n".join(checking.report(settings))


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('volume = "splin"', 17, "did you mean spline"),
        ('volume = "self"', 17, "python -m tfmisr.volume"),
        ('volume = "spline"\nmodel = "fast-x2"', 18, "has no model"),
        ('volume = "spline"\nspacing = 0', 18, "above 0"),
        ('volume = "spline"\nspacing = "thin"', 18, "iso or a distance"),
        ('volume = "spline"\nspacing = true', 18, "a number or a string"),
        ('volume = "spline"\ncomplete_after_seconds = 0.5', 18, "at least 1"),
        ('volume = "spline"\nexpected_images = -1', 18, "a number of images"),
        ('volume = "spline"\nexpected_images = "Images"', 18, "ImagesInAcquisition or"),
        ('model = "fast-x2"\nspacing = 1', 18, "spacing belongs to a rule with a volume method"),
    ],
)
def test_g19_a_wrong_volume_rule_is_refused_with_its_line(tmp_path, text, line, message):
    with pytest.raises(InputError, match=f"line {line}: .*{message}"):
        read(tmp_path, text)


def test_g19_a_network_for_images_is_no_network_of_planes(tmp_path):
    from tfmisr.edge import shipped

    with pytest.raises(InputError, match="line 17: expected a through-plane network"):
        read(tmp_path, f'volume = "{shipped.path("fast-x2")}"')


@pytest.mark.parametrize("syntax", [pydicom.uid.ExplicitVRLittleEndian, pydicom.uid.DeflatedExplicitVRLittleEndian])
def test_g14_series_and_expected_number_come_from_the_object_or_the_rule(tmp_path, syntax):
    path = gateway_helpers.image(tmp_path, 1, ImagesInAcquisition=12)
    ds = pydicom.dcmread(path)
    ds.file_meta.TransferSyntaxUID = syntax
    ds.save_as(path)
    rule = read(tmp_path, 'volume = "spline"\nspacing = 2\nexpected_images = "ImagesInAcquisition"').rules[0]
    assert rules.member(rule, path, syntax) == Member(ds.SeriesInstanceUID, "spline", "2", 60.0, 12)
    assert rules.member(dataclasses.replace(rule, expected_images=7), path, syntax).expected == 7
    assert rules.member(dataclasses.replace(rule, volume="", model="m"), path, syntax) is None
    ds[0x0020, 0x1002] = pydicom.DataElement(0x00201002, "SH", "many")
    ds[0x0020, 0x1002].VR = "IS"
    ds.save_as(path)
    assert rules.member(rule, path, syntax).expected == 0  # a broken count refuses no object
    del ds.SeriesInstanceUID
    ds.save_as(path)
    assert rules.reason(rule, rules.member(rule, path, syntax)) == rules.NO_SERIES
    path.write_bytes(path.read_bytes()[:200])
    assert rules.member(rule, path, syntax) is None


def test_g22_the_conformance_statement_names_the_grouping():
    assert "ImagesInAcquisition or NumberOfSeriesRelatedInstances" in conformance.statement()
