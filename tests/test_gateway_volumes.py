"""A node with a volume method: a thick series comes in, a thin one goes out (G-14, issue 17 and 18)."""

import hashlib
import random
import subprocess

import numpy as np
import pytest
from gateway_helpers import Archive, configuration, data_set, dcmtk, running, uid_of, wait_for
from gateway_series_helpers import COLUMNS, FIRST, PIXEL, ROWS, SLICES, SPACING, ct_series, rule

from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import Volume, VolumeGrid, series_upscaling

THIN = 60  # 12 slices of 4 mm at 0.8 mm


def text(archive: Archive, more: str = "", **keys) -> str:
    return configuration({"archive": archive.port}, rules=rule(**keys), more=more)


def thin_series(archive: Archive, number: int = 1) -> list:
    """The derived images that arrived, from the lowest to the highest."""
    source = f"1.2.826.0.1.3680043.9.77.{number}"
    made = [
        ds for ds in archive.data_sets.values() if ds.ImageType[0] == "DERIVED" and ds.SeriesNumber % 1000 == number
    ]
    assert all(ds.SeriesInstanceUID != source for ds in made)
    return sorted(made, key=lambda ds: ds.ImagePositionPatient[2])


def check_geometry(images: list) -> None:
    """The faces of the volume stay: FIRST - 2 mm and 48 mm above; the first new center is half a new slice inside."""
    assert len(images) == THIN
    z = [float(ds.ImagePositionPatient[2]) for ds in images]
    np.testing.assert_allclose(z, FIRST - SPACING / 2 + PIXEL / 2 + PIXEL * np.arange(THIN), atol=1e-4)
    assert len({ds.SeriesInstanceUID for ds in images}) == len({ds.FrameOfReferenceUID for ds in images}) == 1
    for ds in images:
        assert (ds.Rows, ds.Columns) == (ROWS, COLUMNS)
        assert list(ds.PixelSpacing) == [PIXEL, PIXEL]
        np.testing.assert_allclose(list(ds.ImagePositionPatient)[:2], [-12.4, -9.2])


def check_originals(archive: Archive, paths: list) -> None:
    """They arrived once, byte by byte, before any derived image."""
    sent = [(uid_of(path), hashlib.sha256(data_set(path)).hexdigest()) for path in paths]
    assert set(archive.arrived[: len(sent)]) == set(sent)
    assert len(archive.arrived) == len(set(archive.arrived))


def test_g14_a_thick_series_in_any_order_becomes_a_thin_one(tmp_path):
    archive = Archive()
    paths = ct_series(tmp_path / "ct")
    shuffled = random.Random(3).sample(paths, SLICES)
    with running(tmp_path, text(archive, expected_images=SLICES)) as node:
        assert node.send(*shuffled) == [0x0000] * SLICES
        archive.wait(SLICES + THIN)
        wait_for(lambda: not node.rows("SELECT 1 FROM deliveries WHERE state <> 'sent'"), "the records")
        assert "series: waiting for images 0 (oldest 0 s), to process 0, processed 1" in node.command("status")
        assert "series 1: 12 images, 12 were expected" in node.command("audit")
        assert node.stop() == 0
    archive.close()
    check_originals(archive, paths)
    check_geometry(thin_series(archive))
    assert "1.2.826" not in node.text() and "BALL" not in node.text()
