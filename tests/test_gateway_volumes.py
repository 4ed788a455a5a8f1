"""A node with a volume method: a thick series comes in, a thin one goes out (G-14, issue 17 and 18)."""

import hashlib
import random
import subprocess
import time

import numpy as np
import pydicom
import pytest
from gateway_helpers import Archive, Node, configuration, data_set, dcmtk, running, uid_of, wait_for
from gateway_series_helpers import COLUMNS, FIRST, PIXEL, ROWS, SLICES, SPACING, ct_series, rule
from test_gateway_crash import Resending

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


@pytest.mark.large
def test_g14_two_series_interleaved_and_one_lacks_a_slice(tmp_path):
    """Both are complete by time; the one with a gap has no derived series, until its slice comes after all."""
    archive = Archive()
    first, second = ct_series(tmp_path / "ct", 1), ct_series(tmp_path / "ct", 2)
    missing = second.pop(5)
    paths = [path for pair in zip(first, second, strict=False) for path in pair] + first[-1:]
    with running(tmp_path, text(archive, complete_after_seconds=3)) as node:
        assert node.send(*paths) == [0x0000] * (2 * SLICES - 1)
        archive.wait(2 * SLICES - 1 + THIN)
        wait_for(lambda: len(node.rows("SELECT 1 FROM series WHERE state = 'passed'")) == 1, "the refusal")
        refusal = next(line for line in node.command("audit").splitlines() if "series: passed" in line)
        assert "series 2: " in refusal and "missing" in refusal and "1.2.826" not in refusal
        assert "12 images, none came for 3 s" in node.command("audit")
        assert node.send(second[0]) == [0x0000]  # once more: nothing follows
        assert node.rows("SELECT COUNT(*) FROM series WHERE state = 'passed'") == [(1,)]
        assert thin_series(archive, 2) == []
        assert node.send(missing) == [0x0000]
        archive.wait(2 * (SLICES + THIN))
        assert node.stop() == 0
    archive.close()
    check_originals(archive, paths)
    check_geometry(thin_series(archive, 1))
    check_geometry(thin_series(archive, 2))


@pytest.mark.large
def test_g14_dcmtk_sends_a_series_and_a_late_slice_changes_nothing(tmp_path):
    """The scanner states the number of images; one more than that comes late, is sent on and recorded."""
    archive = Archive()
    paths = ct_series(tmp_path / "ct", slices=SLICES + 1)
    for path in paths:
        ds = pydicom.dcmread(path)
        ds.ImagesInAcquisition = SLICES
        ds.save_as(path)
    with running(tmp_path, text(archive, expected_images='"ImagesInAcquisition"')) as node:
        storescu = [dcmtk("storescu"), "-aet", "MODALITY", "-aec", "NODE", "127.0.0.1", str(node.port)]
        subprocess.run([*storescu, *map(str, paths[:SLICES])], check=True, timeout=60)
        archive.wait(SLICES + THIN)
        subprocess.run([*storescu, str(paths[SLICES])], check=True, timeout=60)
        archive.wait(SLICES + THIN + 1)
        assert "late images 1" in node.command("status")
        assert "series 1: it came after its series was complete" in node.command("audit")
        assert node.rows("SELECT COUNT(*) FROM series") == [(1,)]
        assert node.stop() == 0
    archive.close()
    check_geometry(thin_series(archive))


@pytest.mark.large
def test_g01_a_node_killed_in_the_middle_of_a_job_makes_it_again_and_sends_it_once(tmp_path):
    """kill -9 after a part of the series, right after its last image, and while it is processed."""
    archive = Archive()
    paths = ct_series(tmp_path / "ct")
    configured = text(archive, "[processing]\nattempts = 9", complete_after_seconds=4)
    with running(tmp_path, configured.replace("seconds = 4", "seconds = 600")) as node:
        assert node.send(*paths[:7]) == [0x0000] * 7
        node.kill()
    with running(tmp_path, configured) as node:
        assert node.send(*paths[7:]) == [0x0000] * 5
        node.kill()
    with running(tmp_path, configured) as node:
        wait_for(lambda: node.rows("SELECT state FROM series") == [("processing",)], "the job")
        node.kill()
    with running(tmp_path, configured) as node:
        archive.wait(SLICES + THIN)
        wait_for(lambda: not node.rows("SELECT 1 FROM deliveries WHERE state <> 'sent'"), "the records")
        assert node.rows("SELECT state, attempts FROM series") == [("processed", 2)]
        assert sorted(node.spool.glob("incoming/*")) == []
        assert node.stop() == 0
    archive.close()
    contents = set(archive.arrived)
    assert len(contents) == len({uid for uid, _ in contents}) == SLICES + THIN
    assert {(uid_of(path), hashlib.sha256(data_set(path)).hexdigest()) for path in paths} <= contents
    check_geometry(thin_series(archive))


@pytest.mark.large
def test_g14_a_derived_series_that_comes_back_is_acknowledged_and_goes_no_further(tmp_path):
    """Also where the node has forgotten it: a derived series is not processed again, so nodes make no loop."""
    archive = Archive()
    paths = ct_series(tmp_path / "ct")
    configured = text(archive, expected_images=SLICES, complete_after_seconds=2, spacing=2.0)
    with running(tmp_path, configured) as node:
        assert node.send(*paths) == [0x0000] * SLICES
        archive.wait(SLICES + 24)
        wait_for(lambda: not node.rows("SELECT 1 FROM deliveries WHERE state <> 'sent'"), "the records")
        made = [node.spool / file for (file,) in node.rows("SELECT file FROM instances WHERE file LIKE 'results/%'")]
        kept = [tmp_path / path.name for path in made]
        for path, copy in zip(made, kept, strict=True):
            copy.write_bytes(path.read_bytes())
        assert node.send(*kept) == [0x0000] * 24
        assert node.rows("SELECT COUNT(*) FROM instances") == [(SLICES + 24,)]
        assert node.stop() == 0
    other = tmp_path / "other"
    other.mkdir()
    with running(other, configured.replace("spacing = 2.0", "spacing = 1.0")) as node:
        assert node.send(*kept[:SLICES]) == [0x0000] * SLICES
        wait_for(lambda: node.rows("SELECT state FROM series") == [("passed",)], "the refusal")
        assert "already been" in node.rows("SELECT reason FROM series")[0][0]
        assert node.stop() == 0
    archive.close()
    assert len(set(archive.uids())) == SLICES + 24


@pytest.mark.large
def test_g11_a_job_that_takes_too_much_memory_is_quarantined_and_the_originals_pass(tmp_path):
    archive = Archive()
    paths = ct_series(tmp_path / "ct")
    limits = "[processing]\nattempts = 1\nvolume_memory_gb = 0.1"
    with running(tmp_path, text(archive, limits, expected_images=SLICES)) as node:
        assert node.send(*paths) == [0x0000] * SLICES
        archive.wait(SLICES)
        wait_for(lambda: node.rows("SELECT 1 FROM series WHERE state IN ('failed', 'passed')"), "the end of the job")
        assert "memory" in node.rows("SELECT reason FROM series")[0][0]
        assert node.stop() == 0
    archive.close()


def survive(folder, kills: int, series: int, seed: int) -> None:
    """Kills the node at random moments while series come in, are processed and are sent.

    Args:
        folder: For its files.
        kills: How many times.
        series: Number of series of five slices; each gives ten new ones.
        seed: Of the moments.
    """
    archive, moments = Archive(), random.Random(seed)
    paths = [path for number in range(1, series + 1) for path in ct_series(folder / "ct", number, slices=5)]
    moments.shuffle(paths)
    configured = text(archive, "[processing]\nattempts = 99\nretry_seconds = 0.1", expected_images=5, spacing=2.0)
    sender = Resending(paths)
    for number in range(kills + 1):
        node = sender.node = Node(folder, configured)
        if number == 0:
            sender.start()
        if number < kills:
            time.sleep(moments.uniform(0.0, 3.0))
            node.kill()
    try:
        archive.wait(15 * series, 120)
        sender.join(60)
        wait_for(lambda: not node.rows("SELECT 1 FROM deliveries WHERE state <> 'sent'"), "the records")
        assert node.rows("SELECT state, COUNT(*), SUM(late) FROM series GROUP BY 1") == [("processed", series, 0)]
        assert node.stop() == 0
    finally:
        node.process.kill()
        archive.close()
    contents = set(archive.arrived)
    assert len(contents) == len({uid for uid, _ in contents}) == 15 * series
    assert {(uid_of(path), hashlib.sha256(data_set(path)).hexdigest()) for path in paths} <= contents
    assert len(archive.arrived) - len(contents) <= kills
    for number in range(1, series + 1):
        z = [float(ds.ImagePositionPatient[2]) for ds in thin_series(archive, number)]
        np.testing.assert_allclose(z, FIRST - SPACING / 2 + 1.0 + 2.0 * np.arange(10), atol=1e-4)
    assert "Traceback" not in node.text()


@pytest.mark.large
def test_g01_killed_at_random_moments_each_series_is_made_once(tmp_path):
    survive(tmp_path, kills=3, series=3, seed=1)
