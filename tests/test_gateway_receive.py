"""The receiving side of the gateway: what is acknowledged is on the disk, and every other status is the right one."""

import contextlib
import io
import os
import pathlib
import socket
import subprocess
import threading
import time
import types

import pydicom
import pytest
from gateway_helpers import Archive, Node, configuration, data_set, dcmtk, image, running, uid_of, wait_for
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian, JPEGLSLossless, generate_uid
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.sop_class import ComputedRadiographyImageStorage

from tfmisr.gateway import metrics, receiver

RULE = '[[rules]]\nmodality = ["CR"]\nsend = "original only"\ndestinations = ["archive"]\n'


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """A node whose only destination does not answer, so that everything stays in the queue."""
    folder = tmp_path_factory.mktemp("receive")
    more = '[[sources]]\nae_title = "ELSEWHERE"\naddress = "10.1.2.3"'
    timeouts = "max_associations = 3\nacse_timeout = 3\nnetwork_timeout = 4"
    with running(folder, configuration({"archive": 9}, node=timeouts, rules=RULE, more=more)) as started:
        yield started


def kept(node: Node, path) -> bytes:
    """The data set that the queue has for an instance."""
    ((file,),) = node.rows("SELECT file FROM instances WHERE sop_instance_uid = ?", uid_of(path))
    return data_set(node.spool / file)


def store(node: Node, association, content: bytes, sop_class, instance) -> pydicom.Dataset:
    """Sends a C-STORE request with a command set and a data set of one's own."""
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = sop_class, instance
    request.DataSet = io.BytesIO(content)
    association._reactor_checkpoint.clear()
    wait_for(lambda: association._is_paused, "the association")
    association.dimse.send_msg(request, association.accepted_contexts[0].context_id)
    response = association.dimse.get_msg(block=True)[1]
    association._reactor_checkpoint.set()
    status = pydicom.Dataset()
    status.Status, status.ErrorComment = response.Status, response.ErrorComment
    return status


def test_g01_an_acknowledged_object_is_in_spool_and_queue_as_it_was_sent(node, tmp_path):
    path = image(tmp_path, 1)
    assert node.send(path) == [0x0000]
    assert kept(node, path) == data_set(path)
    assert not list((node.spool / "incoming").iterdir())


def test_g03_the_same_bytes_twice_are_one_object(node, tmp_path):
    path = image(tmp_path, 2)
    assert node.send(path, path) == [0x0000, 0x0000]
    assert node.send(path) == [0x0000]
    assert node.rows("SELECT COUNT(*) FROM instances WHERE sop_instance_uid = ?", uid_of(path)) == [(1,)]
    assert len(list((node.spool / "objects").iterdir())) == node.rows("SELECT COUNT(*) FROM instances")[0][0]


def test_g03_the_same_uid_with_other_bytes_is_refused_and_quarantined(node, tmp_path):
    path = image(tmp_path, 3)
    assert node.send(path) == [0x0000]
    before = data_set(path)
    image(tmp_path, 3, PatientID="OTHER")
    assert node.send(path, path) == [0xC001, 0xC001]
    assert kept(node, path) == before
    ((file, digest, other),) = node.rows("SELECT file, digest, kept_digest FROM conflicts")
    assert data_set(node.spool / file) == data_set(path)
    assert digest in node.text()
    assert other in node.text()
    assert f"sha256 {digest[:12]}, not {other[:12]}" in node.command("quarantine", "list")


def test_g03_what_conflicts_fills_its_share_of_the_disk_and_no_more(tmp_path):
    """A sender that repeats a UID with ever new bytes: A700 beyond `quarantine_mb`, until an operator discards."""
    path = image(tmp_path, 1, side=256)  # 133 kB
    with running(tmp_path, configuration({"archive": 9}, node="quarantine_mb = 0.3")) as node:
        assert node.send(path) == [0x0000]
        others = []
        for number in range(4):
            changed = image(tmp_path, 1, side=256, PatientID=str(number))
            others.append(changed.rename(tmp_path / f"other{number}"))
        assert node.send(*others) == [0xC001, 0xC001, 0xA700, 0xA700]
        assert node.send(others[0]) == [0xC001]  # it is there already
        assert "A700: the UID came before with other bytes; quarantine is full" in node.text()
        assert "same UID with other bytes: 2 (0.3 of 0.3 MB)" in node.command("status")
        assert len(list((node.spool / "quarantine").iterdir())) == 2
        node.command("quarantine", "discard", "conflict:1", "--yes")
        assert node.send(others[2]) == [0xC001]
        assert node.send(image(tmp_path, 2)) == [0x0000]
        assert not list((node.spool / "incoming").iterdir())


def test_g03_an_acknowledged_object_whose_file_vanished_is_taken_again(node, tmp_path):
    path = image(tmp_path, 4)
    assert node.send(path) == [0x0000]
    ((file,),) = node.rows("SELECT file FROM instances WHERE sop_instance_uid = ?", uid_of(path))
    (node.spool / file).unlink()
    assert node.send(path) == [0x0000]
    assert kept(node, path) == data_set(path)


def test_g05_statuses_of_what_cannot_be_stored(node, tmp_path):
    path = image(tmp_path, 5)
    content, uid = data_set(path), uid_of(path)
    cr = ComputedRadiographyImageStorage
    cases = [
        (content, cr, generate_uid(), 0xA900),  # another instance in the command set
        (content, CTImageStorage, uid, 0xA900),  # another class
        (content, "1.2.840.10008.5.1.4.38.1", uid, 0x0122),  # Hanging Protocol Storage: no patient's object
        (content[:20], cr, uid, 0xC000),
        (b"\x00" * 64, cr, uid, 0xC000),
    ]
    for data, sop_class, instance, expected in cases:
        association = node.associate(context=cr)
        status = store(node, association, data, sop_class, instance)
        association.release()
        assert status.Status == expected
        assert status.ErrorComment
    assert not node.rows("SELECT * FROM instances WHERE sop_instance_uid = ?", uid)
    assert not list((node.spool / "incoming").iterdir())


def test_g05_an_object_that_no_rule_wants_is_refused_not_lost(node, tmp_path):
    path = image(tmp_path, 6, Modality="DX")
    assert node.send(path) == [0x0124]


def test_g06_called_and_calling_ae_titles_and_addresses(node):
    def reason(**names) -> tuple:
        association = node.associate(**names)
        assert association.is_rejected
        primitive = association.acceptor.primitive
        return primitive.result, primitive.result_source, primitive.diagnostic

    assert reason(called="OTHER") == (1, 1, 7)
    assert reason(calling="STRANGER") == (1, 1, 3)
    assert reason(calling="modality") == (1, 1, 3)
    assert reason(calling="ELSEWHERE") == (1, 1, 3)  # listed, but not from this address


def test_g06_an_error_while_a_caller_is_checked_admits_nobody():
    sent = []
    acse = types.SimpleNamespace(send_reject=lambda *reason: sent.append(reason))
    event = types.SimpleNamespace(assoc=types.SimpleNamespace(acse=acse, kill=lambda: sent.append("killed")))
    checked = object.__new__(receiver.Receiver)  # has no attributes, so that checking fails
    checked._metrics = metrics.Metrics()
    checked._admit(event)
    assert sent == [(2, 3, 2), "killed"]


def test_g06_spaces_around_ae_titles_do_not_count(node):
    association = node.associate(calling="  MODALITY ", called=" NODE")
    assert association.is_established
    association.release()


def test_g07_more_associations_than_allowed_are_rejected_and_slots_come_back(node):
    open_ones = [node.associate() for _ in range(3)]
    assert all(each.is_established for each in open_ones)
    rejected = node.associate()
    primitive = rejected.acceptor.primitive
    assert (primitive.result, primitive.result_source, primitive.diagnostic) == (2, 3, 2)
    for each in open_ones:
        each.release()
    wait_for(lambda: associated(node), "a free slot", 10)


def associated(node) -> bool:
    association = node.associate()
    established = association.is_established
    association.release()
    return established


def is_closed(connection: socket.socket) -> bool:
    """Whether the node has ended a connection; what it sent before is read."""
    connection.setblocking(False)
    try:
        while connection.recv(4096):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def test_g07_silent_and_trickling_connections_take_no_slot_and_are_closed(node):
    """200 that say nothing, one that stops in the middle of a PDU, and one that sends a byte now and then."""
    start = time.monotonic()
    with contextlib.ExitStack() as opened:
        address = ("127.0.0.1", node.port)
        silent = [opened.enter_context(socket.create_connection(address)) for _ in range(202)]
        silent[200].sendall(b"\x01\x00\x00\x00\x01\x00\x00\x01")
        silent[201].sendall(b"\x01\x00\x00\x00\x01\x00")
        assert associated(node)
        while not is_closed(silent[201]) and time.monotonic() - start < 10:
            with contextlib.suppress(OSError):
                silent[201].sendall(b"\0")
            time.sleep(0.2)
        assert 2.5 < time.monotonic() - start < 9  # acse_timeout is 3, on a machine that may be busy
        wait_for(lambda: all(map(is_closed, silent)), "the end of all connections", 5)


@pytest.mark.large
def test_g07_a_flood_of_silent_connections_keeps_nobody_out(node):
    """Each is replaced by another as soon as the node closes it; senders come in all the time."""
    ended, held = threading.Event(), []

    def flood() -> None:
        while not ended.is_set():
            with contextlib.suppress(OSError):
                held.append(socket.create_connection(("127.0.0.1", node.port), timeout=1))
            for each in [each for each in held if is_closed(each)]:
                held.remove(each)
                each.close()
            time.sleep(0.002)

    flooding = threading.Thread(target=flood)
    flooding.start()
    try:
        wait_for(lambda: len(held) >= 120, "the flood", 10)
        for _ in range(4):
            start = time.monotonic()
            assert associated(node)
            assert time.monotonic() - start < 3  # acse_timeout
    finally:
        ended.set()
        flooding.join()
        for each in held:
            each.close()


@pytest.mark.large
def test_g07_associations_that_say_nothing_or_trickle_free_their_slots(node):
    """Two are silent, one sends a PDU byte by byte: pynetdicom would wait for each byte as long."""
    opened = [node.associate() for _ in range(3)]
    trickling = opened[0].dul.socket.socket
    trickling.sendall(b"\x04\x00\x00\x01\x00\x00")  # P-DATA-TF of 64 KiB
    assert node.associate().is_rejected
    start = time.monotonic()
    while node.associations() and time.monotonic() - start < 20:
        with contextlib.suppress(OSError):
            trickling.sendall(b"\0")
        time.sleep(0.2)
    assert time.monotonic() - start < 12  # network_timeout is 4
    assert associated(node)
    for each in opened:
        each.kill()


def test_g02_a_connection_that_breaks_leaves_no_half_object(node, tmp_path):
    path = image(tmp_path, 7, side=512)
    association = node.associate(context=ComputedRadiographyImageStorage)
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = ComputedRadiographyImageStorage, uid_of(path)
    request.DataSet = io.BytesIO(data_set(path))
    sent = []
    original = association.dul.socket.send

    def half(content):
        if sum(sent) <= 200_000:
            original(content)
            sent.append(len(content))
            if sum(sent) > 200_000:
                association.dul.socket.socket.shutdown(socket.SHUT_RDWR)

    association.dul.socket.send = half
    association.dimse.send_msg(request, association.accepted_contexts[0].context_id)
    wait_for(lambda: sum(sent) > 200_000, "half of the data")
    wait_for(lambda: not list((node.spool / "incoming").iterdir()), "the removal", 15)
    assert not node.rows("SELECT * FROM instances WHERE sop_instance_uid = ?", uid_of(path))
    association.kill()


def test_g08_compressed_objects_are_kept_as_they_are(node, tmp_path):
    path = image(tmp_path, 8)
    ds = pydicom.dcmread(path)
    ds.compress(JPEGLSLossless, generate_instance_uid=False)
    ds.save_as(path)
    assert node.send(path) == [0x0000]
    assert kept(node, path) == data_set(path)
    ((syntax,),) = node.rows("SELECT transfer_syntax FROM instances WHERE sop_instance_uid = ?", uid_of(path))
    assert syntax == JPEGLSLossless


def peak(node: Node) -> float:
    """The largest resident memory of the node in MB."""
    try:
        lines = pathlib.Path(f"/proc/{node.process.pid}/status").read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        pytest.skip("finds the memory of another process in /proc")
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM"))


@pytest.mark.parametrize("position", [0x00091001, 0x00191001])
def test_g09_a_data_set_that_inflates_to_a_thousand_times_its_size(node, tmp_path, position):
    """100 kB become 100 MB (PS3.5 A.5): stored behind the Attributes that rules need, refused before them."""
    path = image(tmp_path, position)
    ds = pydicom.dcmread(path)
    ds.private_block(position >> 16, "X", create=True)
    ds.add_new(position, "OB", b"")
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    stream = io.BytesIO()
    ds[position].value = b"\0" * 100_000_000
    ds.save_as(stream, enforce_file_format=True)
    path.write_bytes(stream.getvalue())
    before = peak(node)
    assert node.send(path) == [0x0000 if position > 0x00180015 else 0xC000]
    assert peak(node) < before + 60


@pytest.mark.parametrize("data", [b"", b"\x01\x00\x00", b"GET / HTTP/1.0\r\n\r\n"])
def test_g07_probes_that_connect_and_close_take_no_slot(node, data):
    """A load balancer or a port scanner: its connections end before an association is requested."""
    for _ in range(6):
        with socket.create_connection(("127.0.0.1", node.port)) as probe:
            probe.sendall(data)
    start = time.monotonic()
    wait_for(lambda: associated(node), "a free slot", 10)
    assert time.monotonic() - start < 1.5  # acse_timeout is 3


def test_g07_a_caller_that_announces_gigabytes_is_cut_off(node):
    before = peak(node)
    with socket.create_connection(("127.0.0.1", node.port)) as hostile, pytest.raises(OSError, match=r"pipe|reset"):
        hostile.sendall(b"\x01\x00\xff\xff\xff\xf0")
        for _ in range(200):
            hostile.sendall(bytes(1_000_000))
    assert peak(node) < before + 50
    wait_for(lambda: associated(node), "a free slot", 15)


def test_an_object_that_would_only_go_back_to_its_sender_is_refused(tmp_path):
    """Two nodes that have each other as only destination: neither acknowledges what it would send nowhere."""
    path = image(tmp_path, 1)
    more = '[[sources]]\nae_title = "ARCHIVE"'
    with running(tmp_path, configuration({"archive": 9}, more=more)) as node:
        assert node.send(path, calling="ARCHIVE") == [0x0124]
        assert node.send(path) == [0x0000]
        assert node.send(path, calling="ARCHIVE") == [0x0000]  # it is kept for the archive


def test_dcmtk_echoes_and_stores(node, tmp_path):
    address = ["-aet", "MODALITY", "-aec", "NODE", "127.0.0.1", str(node.port)]
    subprocess.run([dcmtk("echoscu"), *address], check=True)
    path = image(tmp_path, 9)
    subprocess.run([dcmtk("storescu"), *address, str(path)], check=True)
    assert node.rows("SELECT COUNT(*) FROM instances WHERE sop_instance_uid = ?", uid_of(path)) == [(1,)]
    refused = subprocess.run([dcmtk("echoscu"), *address[2:]], check=False, capture_output=True, text=True)
    assert "Calling AE Title Not Recognized" in refused.stderr + refused.stdout


def test_dcmtk_with_as_many_contexts_as_there_can_be_and_with_services_that_are_not_offered(node):
    """128 presentation contexts (PS3.8 9.3.2.2) of all syntaxes; queries and moves get no context, and harm nothing."""
    address = ["-aet", "MODALITY", "-aec", "NODE", "127.0.0.1", str(node.port)]
    subprocess.run([dcmtk("echoscu"), "-ppc", "128", "-pts", "38", *address], check=True)
    query = ["-k", "QueryRetrieveLevel=STUDY", "-k", "PatientID=1"]
    for command in (["findscu", "-S"], ["findscu", "-W"], ["movescu", "-S"]):
        refused = subprocess.run(
            [dcmtk(command[0]), command[1], *query, *address], check=False, capture_output=True, text=True
        )
        assert refused.returncode
        assert "No Acceptable Presentation Contexts" in refused.stderr + refused.stdout
    subprocess.run([dcmtk("echoscu"), *address], check=True)
    wait_for(lambda: node.associations() == 0, "the end of all associations", 10)


def test_g04_an_object_that_the_disk_does_not_take_is_refused_with_a700(node, tmp_path):
    """The error comes while the data arrive: a limit on the size of files stands for the full disk."""
    resource = pytest.importorskip("resource", reason="limits of another process exist on Linux only")
    if not hasattr(resource, "prlimit"):
        pytest.skip("limits of another process exist on Linux only")
    large, small = image(tmp_path, 14, 1024), image(tmp_path, 15)
    unlimited = resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (2**20, resource.RLIM_INFINITY))
    try:
        assert node.send(large, small) == [0xA700, 0x0000]
    finally:
        resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, unlimited)
    assert not list((node.spool / "incoming").iterdir())
    assert node.send(large) == [0x0000]
    assert kept(node, large) == data_set(large)


@pytest.mark.large
def test_g04_a_full_disk_refuses_with_a700_and_recovers_alone(tmp_path):
    """On a file system of 20 MB the second image of 12 MB does not fit, and comes in once the first has left."""
    spool = tmp_path / "spool"
    spool.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(spool)]
    if os.name == "nt" or os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    first, second, small = (image(tmp_path, n, side) for n, side in ((11, 2450), (12, 2450), (13, 64)))
    try:
        archive_port = 9
        text = configuration({"archive": archive_port}, node="keep_hours = 0")
        with running(tmp_path, text) as node:
            assert node.send(first, second, small) == [0x0000, 0xA700, 0x0000]
            assert not list((spool / "incoming").iterdir())
            assert node.rows("SELECT COUNT(*) FROM instances") == [(2,)]
            node.rows("SELECT 1")
            association = node.associate()  # G-21
            assert association.send_c_echo().Status == 0x0000
            association.release()
            assert node.stop() == 0
        archive = Archive()
        with running(tmp_path, configuration({"archive": archive.port}, node="keep_hours = 0")) as node:
            archive.wait(2)
            wait_for(lambda: node.rows("SELECT COUNT(*) FROM instances") == [(0,)], "the removal", 90)
            assert node.send(second) == [0x0000]
            archive.wait(3)
        archive.close()
    finally:
        subprocess.run(["umount", str(spool)], check=True)


@pytest.mark.large
def test_g04_g21_below_the_reserve_only_echo_is_admitted(tmp_path):
    with running(tmp_path, configuration({"archive": 9}).replace("reserve_mb = 0", "reserve_mb = 1e12")) as node:
        rejected = node.associate(context=ComputedRadiographyImageStorage)
        primitive = rejected.acceptor.primitive
        assert (primitive.result, primitive.result_source, primitive.diagnostic) == (2, 3, 2)
        association = node.associate()
        assert association.send_c_echo().Status == 0x0000
        association.release()
