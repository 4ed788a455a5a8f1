"""Orthanc, an archive that others wrote, as destination and as source of a gateway, in a network of their own.

Orthanc 1.10 listens on all addresses, so everything here runs in a network namespace without any other interface. It
ends with its processes.
"""

import contextlib
import io
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import time

import pydicom
import pytest
from gateway_helpers import BICUBIC, configuration, data_set, dcmtk, image, running, uid_of, wait_for
from pydicom import uid

pytestmark = pytest.mark.large
DICOM, HTTP, NODE = 4242, 8042, 11112
RULES = BICUBIC.format('"archive"') + '[[rules]]\nsend = "original only"\ndestinations = ["archive"]\n'


def program(name: str) -> str:
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    return found or pytest.skip(f"{name} is not installed")


class Orthanc:
    """An archive, and the network namespace in which it, the gateway and DCMTK run.

    Args:
        folder: For its files.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        if os.name == "nt" or os.geteuid():
            pytest.skip("a network namespace needs root")
        self.curl, self.binary = program("curl"), program("Orthanc")
        command = [program("unshare"), "-n", "sh", "-c", f"{program('ip')} link set lo up && echo up && exec sleep 600"]
        self.network = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        with self.network.stdout as output:
            if output.readline() != b"up\n":
                self.network.wait()
                pytest.skip("this system allows no network namespace")
        self.inside = [program("nsenter"), "-t", str(self.network.pid), "-n"]
        self.process = None
        self.config = folder / "orthanc.json"
        settings = {"StorageDirectory": str(folder / "archive"), "IndexDirectory": str(folder / "archive")}
        settings |= {"HttpPort": HTTP, "DicomPort": DICOM, "DicomAet": "ARCHIVE", "DicomCheckCalledAet": True}
        settings |= {"DicomModalities": {"node": ["NODE", "127.0.0.1", NODE]}, "Plugins": [], "HttpVerbose": False}
        self.config.write_text(json.dumps({**settings, "OverwriteInstances": False}), encoding="utf-8")

    def start(self) -> None:
        environment = {**os.environ, "TCP_NODELAY": "1"}
        with open(self.config.with_suffix(".log"), "a", encoding="utf-8") as log:
            command = [*self.inside, self.binary, str(self.config)]
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        wait_for(lambda: self.get("system") is not None, "Orthanc", 20)

    def stop(self) -> None:
        """Ends it as a power cut would."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        self.stop()
        self.network.kill()
        self.network.wait()

    def _curl(self, *arguments: str) -> bytes:
        command = [*self.inside, self.curl, "-sf", *arguments[:-1], f"http://127.0.0.1:{HTTP}/{arguments[-1]}"]
        return subprocess.run(command, check=False, capture_output=True).stdout

    def get(self, path: str):
        """The answer of its REST interface; `None` where there is none."""
        content = self._curl(path)
        return json.loads(content) if content else None

    def delete(self, instance: str) -> None:
        """Makes it forget an instance."""
        self._curl("-X", "DELETE", f"instances/{instance}")

    def send(self, instance: str) -> None:
        """Makes it send an instance to the gateway, and waits until it has."""
        assert json.loads(self._curl("-d", instance, "modalities/node/store"))["FailedInstancesCount"] == 0

    def instances(self) -> dict[str, tuple[str, bytes]]:
        """SOP Instance UID to its name in Orthanc and its data set."""
        found = {}
        for name in self.get("instances"):
            content = self._curl(f"instances/{name}/file")
            ds = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
            found[str(ds.SOPInstanceUID)] = name, content
        return found

    def wait(self, count: int) -> dict[str, tuple[str, bytes]]:
        wait_for(lambda: len(self.get("instances") or ()) >= count, f"{count} instances in Orthanc", 30)
        return self.instances()


@contextlib.contextmanager
def gateway(folder: pathlib.Path, archive: Orthanc, **more: str):
    text = configuration({"archive": DICOM}, rules=RULES, **more).replace("port = 0", f"port = {NODE}", 1)
    with running(folder, text, prefix=archive.inside) as node:
        yield node


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    made = Orthanc(tmp_path_factory.mktemp("orthanc"))
    try:
        made.start()
        yield made
    finally:
        made.close()


def store(archive: Orthanc, *paths: pathlib.Path) -> None:
    command = [dcmtk("storescu"), "-xf", str(profile(paths[0].parent)), "All", "-aet", "MODALITY", "-aec", "NODE"]
    done = subprocess.run(
        [*archive.inside, *command, "127.0.0.1", str(NODE), *map(str, paths)], check=False, capture_output=True
    )
    assert done.returncode == 0, done.stderr[-300:]


def profile(folder: pathlib.Path) -> pathlib.Path:
    """DCMTK's description of associations: a presentation context for each class and encoding of these tests."""
    syntaxes = [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.JPEGLSLossless, uid.JPEG2000Lossless]
    classes = [uid.ComputedRadiographyImageStorage, uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage]
    classes += [uid.BasicTextSRStorage, uid.GrayscaleSoftcopyPresentationStateStorage, uid.EncapsulatedPDFStorage]
    lines = ["[[TransferSyntaxes]]"]
    for number, syntax in enumerate(syntaxes):
        lines += [f"[T{number}]", f"TransferSyntax1 = {syntax}"]
    lines += ["[[PresentationContexts]]", "[C]"]
    pairs = [(sop_class, number) for sop_class in classes for number in range(len(syntaxes))]
    lines += [f"PresentationContext{i} = {sop_class}\\T{number}" for i, (sop_class, number) in enumerate(pairs, 1)]
    path = folder / "profile.cfg"
    path.write_text("\n".join([*lines, "[[Profiles]]", "[All]", "PresentationContexts = C\n"]), encoding="ascii")
    return path


def compressed(path: pathlib.Path, syntax: str) -> pathlib.Path:
    ds = pydicom.dcmread(path)
    ds.compress(syntax, generate_instance_uid=False)
    ds.save_as(path)
    return path


def without_pixels(path: pathlib.Path, sop_class: str, modality: str) -> pathlib.Path:
    ds = pydicom.dcmread(path)
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "SamplesPerPixel"):
        delattr(ds, keyword)
    ds.SOPClassUID, ds.Modality = sop_class, modality
    ds.file_meta.MediaStorageSOPClassUID = sop_class
    if sop_class == uid.EncapsulatedPDFStorage:
        ds.EncapsulatedDocument, ds.MIMETypeOfEncapsulatedDocument = b"%PDF-1.4", "application/pdf"
    ds.save_as(path)
    return path


def multi_frame(path: pathlib.Path) -> pathlib.Path:
    ds = pydicom.dcmread(path)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    ds.NumberOfFrames, ds.PixelData = 3, ds.PixelData * 3
    ds.save_as(path)
    return path


def test_objects_of_many_kinds_come_unchanged_and_images_upscaled(tmp_path, archive):
    """G-08, G-14: compressed, multi-frame and hostile images, and objects that are no images, for Orthanc by DCMTK."""
    with pydicom.config.disable_value_validation():
        paths = [image(tmp_path, 100), image(tmp_path, 101, PatientName="X" * 5000 + "^../../etc\x1b[31m")]
    paths += [compressed(image(tmp_path, 102), uid.JPEGLSLossless), multi_frame(image(tmp_path, 103))]
    with contextlib.suppress(RuntimeError, ImportError):  # without an encoder of JPEG 2000
        paths.append(compressed(image(tmp_path, 104), uid.JPEG2000Lossless))
    others = [
        without_pixels(image(tmp_path, 110), uid.BasicTextSRStorage, "SR"),
        without_pixels(image(tmp_path, 111), uid.GrayscaleSoftcopyPresentationStateStorage, "PR"),
        without_pixels(image(tmp_path, 112), uid.EncapsulatedPDFStorage, "DOC"),
    ]
    with gateway(tmp_path, archive) as node:
        store(archive, *paths, *others)
        found = archive.wait(2 * len(paths) + len(others))
        wait_for(lambda: not node.rows("SELECT 1 FROM deliveries WHERE state <> 'sent'"), "the records")
        assert node.stop() == 0
    assert len(found) == 2 * len(paths) + len(others)
    for path in (*paths, *others):
        (tmp_path / "arrived.dcm").write_bytes(found[uid_of(path)][1])
        assert data_set(tmp_path / "arrived.dcm") == data_set(path)
    results = [pydicom.dcmread(io.BytesIO(content)) for name, (_, content) in found.items() if name.startswith("2.25.")]
    results = [ds for ds in results if "SourceImageSequence" in ds]
    assert {ds.SourceImageSequence[0].ReferencedSOPInstanceUID for ds in results} == set(map(uid_of, paths))
    assert all((ds.Rows, ds.Columns) == (128, 128) for ds in results)


def test_orthanc_sends_and_gets_the_result_and_nothing_goes_round(tmp_path, archive):
    """As source and destination: the original does not go back; the result, sent once more, is known."""
    path = image(tmp_path, 200)
    with gateway(tmp_path, archive, more='[[sources]]\nae_title = "ARCHIVE"') as node:
        before = set(archive.instances())
        assert archive._curl("--data-binary", f"@{path}", "instances")
        archive.send(archive.instances()[uid_of(path)][0])
        found = archive.wait(len(before) + 2)
        (result,) = set(found) - before - {uid_of(path)}
        wait_for(lambda: node.rows("SELECT state FROM deliveries") == [("sent",)], "the record")
        archive.send(found[result][0])
        archive.send(found[uid_of(path)][0])
        time.sleep(0.7)
        assert node.rows("SELECT kind, state FROM deliveries") == [("result", "sent")]
        assert node.rows("SELECT COUNT(*) FROM instances") == [(1,)]
        assert node.stop() == 0
    assert set(archive.instances()) == before | {uid_of(path), result}


def test_g15_orthanc_commits_what_it_has_and_names_what_it_lost(tmp_path, archive):
    """It reports on an association of its own; an instance that was deleted there is sent again on release."""
    path, count = image(tmp_path, 400), len(archive.instances())
    states = "SELECT state FROM commitments ORDER BY delivery"
    with gateway(tmp_path, archive, destination="storage_commitment = true\ncommitment_seconds = 5") as node:
        store(archive, path)
        found = archive.wait(count + 2)
        wait_for(lambda: node.rows(states) == [("committed",)] * 2, "the commitments", 30)
        assert "storage commitment: committed 2, asked 0, to ask 0, not 0" in node.command("status")
        archive.delete(found[uid_of(path)][0])
        with contextlib.closing(sqlite3.connect(node.spool / "queue.db", timeout=10)) as database:
            database.execute("DELETE FROM commitments WHERE delivery = 1")  # so that the node asks once more
            database.commit()
        wait_for(lambda: node.rows(states) == [("failed",), ("committed",)], "the report", 30)
        assert "commitment:1  original of object 1 was not committed by archive: failure reason 0112" in node.command(
            "quarantine", "list"
        )
        assert node.command("quarantine", "release", "commitment:1") == "released: 1\n"
        wait_for(lambda: node.rows(states) == [("committed",)] * 2, "the commitment", 30)
        assert node.stop() == 0
    assert set(archive.instances()) == set(found)


def test_g01_g12_both_are_killed_and_everything_arrives_once(tmp_path, archive):
    """The archive is down while images come, the gateway is killed twice, once while it sends."""
    paths = [image(tmp_path, number, side=256) for number in range(300, 315)]
    count = len(archive.instances())
    archive.stop()
    with gateway(tmp_path, archive) as node:
        store(archive, *paths[:10])
        wait_for(lambda: "archive: no association" in node.text(), "the failure")
        node.kill()
    archive.start()
    with gateway(tmp_path, archive) as node:
        store(archive, *paths[10:])
        wait_for(lambda: len(archive.get("instances")) > count, "the first")
        node.kill()
    with gateway(tmp_path, archive) as node:
        archive.wait(count + 2 * len(paths))
        wait_for(lambda: not node.rows("SELECT 1 FROM deliveries WHERE state <> 'sent'"), "the records")
        assert node.rows("SELECT COUNT(*) FROM deliveries") == [(2 * len(paths),)]
        assert node.stop() == 0
    assert len(archive.instances()) == count + 2 * len(paths)
    assert {uid_of(path) for path in paths} <= set(archive.instances())
