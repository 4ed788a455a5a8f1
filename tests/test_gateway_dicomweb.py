"""DICOMweb of a running node (G-16): STOW-RS keeps the promises of C-STORE; QIDO-RS and WADO-RS show what is held.

Oracles: dicomweb-client (https://github.com/ImagingDataCommons/dicomweb-client), curl, and pydicom on the files sent.
"""

import io
import pathlib
import shutil
import socket
import subprocess
import time
import urllib.request

import pydicom
import pytest
from dicomweb_helpers import SOURCE, TABLE, TYPE, body, get, post, request, web_configuration, web_port
from gateway_helpers import BICUBIC, Archive, data_set, image, running, uid_of, wait_for
from pydicom.uid import JPEGLSLossless

SENDER = '[[sources]]\nae_title = "SENDER"\naddress = "127.0.0.3"\ndicomweb = true\n'
STUDY = pydicom.uid.generate_uid("2.25.", ["tfmisr phantom study"])
RULES = (
    BICUBIC.format('"archive"') + '[[rules]]\nmodality = ["CT"]\nsend = "original only"\ndestinations = ["archive"]\n'
)


@pytest.fixture(scope="module")
def archive():
    found = Archive()
    yield found
    found.close()


@pytest.fixture(scope="module")
def node(tmp_path_factory, archive):
    folder = tmp_path_factory.mktemp("node")
    text = web_configuration({"archive": archive.port}, more=SENDER + SOURCE + TABLE, rules=RULES)
    with running(folder, text) as found:
        yield found


@pytest.fixture
def port(node) -> int:
    return web_port(node)


def client(port: int):
    library = pytest.importorskip("dicomweb_client", reason="the independent client: pip install dicomweb-client")
    return library.DICOMwebClient(f"http://127.0.0.1:{port}/dicom-web", chunk_size=5000)


def changed(path: pathlib.Path, **values) -> bytes:
    """A file with other values."""
    ds = pydicom.dcmread(path)
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    content = io.BytesIO()
    ds.save_as(content, enforce_file_format=True)
    return content.getvalue()


def test_g16_what_a_client_stores_arrives_and_its_results_can_be_fetched(node, archive, port, tmp_path):
    """dicomweb-client stores in chunks; archive and client get the data sets byte by byte, and results."""
    web = client(port)
    paths = [image(tmp_path, number) for number in (1, 2)]
    response = web.store_instances([pydicom.dcmread(path) for path in paths])
    assert [item.ReferencedSOPInstanceUID for item in response.ReferencedSOPSequence] == [uid_of(p) for p in paths]
    assert response.RetrieveURL == f"http://127.0.0.1:{port}/dicom-web/studies/{STUDY}"
    archive.wait(4)
    assert node.rows("SELECT DISTINCT calling_ae FROM instances") == [("WEB",)]
    for path in paths:
        ((file,),) = node.rows("SELECT file FROM instances WHERE sop_instance_uid = ?", uid_of(path))
        assert data_set(node.spool / file) == data_set(path)
    fetched = {ds.SOPInstanceUID: ds for ds in web.retrieve_study(STUDY)}
    assert len(fetched) == 4
    for path in paths:
        sent = pydicom.dcmread(path)
        assert fetched[sent.SOPInstanceUID] == sent
    results = [uid for uid in fetched if uid not in map(uid_of, paths)]
    assert {fetched[uid].Rows for uid in results} == {128}
    for uid in results:
        assert fetched[uid] == archive.data_sets[uid]
        assert web.retrieve_instance(STUDY, fetched[uid].SeriesInstanceUID, uid) == fetched[uid]
    series = {ds.SeriesInstanceUID: ds.Rows for ds in fetched.values()}
    assert len(web.retrieve_series(STUDY, next(uid for uid, rows in series.items() if rows == 128))) == 2


def test_g16_g03_duplicates_and_conflicts_are_those_of_c_store(node, port, tmp_path):
    path = image(tmp_path, 3)
    assert post(port, path.read_bytes()).status == 200
    assert node.send(path) == [0x0000]
    assert post(port, path.read_bytes()).status == 200
    assert node.rows("SELECT COUNT(*) FROM instances WHERE sop_instance_uid = ?", uid_of(path)) == [(1,)]
    other = post(port, changed(path, PatientID="OTHER"))
    assert (other.status, other.reasons(), other.stored()) == (409, [0xC001], [])
    assert len(list((node.spool / "quarantine").iterdir())) == 1
    assert "conflict:1" in node.command("quarantine", "list")


def test_g16_g05_each_part_has_its_own_reason(node, port, tmp_path):
    """PS3.18 Table I.2-2: codes as of C-STORE, C122 for a Transfer Syntax; 202 where others are stored."""
    good = image(tmp_path, 4)
    secondary = changed(image(tmp_path, 5), SOPClassUID="1.2.840.10008.5.1.4.1.1.7", Modality="OT")
    unknown = changed(image(tmp_path, 6), SOPClassUID="1.2.840.10008.1.1")
    mismatch = image(tmp_path, 7).read_bytes().replace(uid_of(image(tmp_path, 7)).encode(), b"2.25." + b"1" * 59, 1)
    syntax = image(tmp_path, 8).read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0")
    truncated = image(tmp_path, 9).read_bytes()[:400]
    reply = post(port, b"no DICOM", secondary, good.read_bytes(), unknown, mismatch, syntax, truncated)
    assert (reply.status, reply.stored()) == (202, [uid_of(good)])
    assert reply.reasons() == [0x0124, 0x0122, 0xA900, 0xC122, 0xC000, 0xC000]
    assert len(reply.json()["0008119A"]["Value"]) == 1  # the part that names no instance
    assert not list((node.spool / "incoming").iterdir())


def test_g16_the_study_of_the_path_is_required(port, tmp_path):
    path = image(tmp_path, 10)
    reply = post(port, path.read_bytes(), study="1.2.3")
    assert (reply.status, reply.reasons()) == (409, [0xA901])
    assert post(port, path.read_bytes(), study=STUDY).stored() == [uid_of(path)]


def test_g16_the_response_as_xml_says_the_same(port, tmp_path):
    from xml.etree import ElementTree

    web = pytest.importorskip("dicomweb_client.web", reason="the independent client: pip install dicomweb-client")
    path = image(tmp_path, 11)
    reply = post(port, path.read_bytes(), b"no DICOM", Accept="application/dicom+xml")
    assert (reply.status, reply.headers["Content-Type"]) == (202, "application/dicom+xml")
    found = web._load_xml_dataset(ElementTree.fromstring(reply.content))
    expected = pydicom.Dataset.from_json(post(port, path.read_bytes(), b"no DICOM").content)
    assert found == expected
    assert found.OtherFailuresSequence[0].FailureReason == 0xC000


def test_g16_malformed_requests_are_refused_by_name(port, tmp_path):
    path, kind = "/dicom-web/studies", TYPE
    content = body(image(tmp_path, 12).read_bytes())
    assert request(port, "POST", path, content, Content_Type="application/dicom").status == 415
    assert request(port, "POST", path, content, Content_Type=kind.replace("dicom", "dicom+json")).status == 415
    assert request(port, "POST", path, content, Content_Type=kind, Accept="text/html").status == 406
    assert request(port, "POST", path, content[:-20], Content_Type=kind).status == 400
    assert request(port, "POST", path, b"--b0undary--", Content_Type=kind).status == 400
    assert request(port, "POST", path, Content_Type=kind).status == 400
    assert request(port, "POST", "/studies", content, Content_Type=kind).status == 404
    assert request(port, "DELETE", path).status == 405
    assert request(port, "GET", path, **{f"X_{n}": "x" * 4000 for n in range(5)}).status == 431


def test_g16_g06_who_is_no_source_gets_nothing(node, port, tmp_path):
    path = image(tmp_path, 13)
    assert post(port, path.read_bytes(), own="127.0.0.2").status == 403
    assert get(port, "/studies", own="127.0.0.2").status == 403
    assert post(port, path.read_bytes(), own="127.0.0.3").status == 200
    assert node.rows("SELECT calling_ae FROM instances WHERE sop_instance_uid = ?", uid_of(path)) == [("SENDER",)]
    assert get(port, f"/studies/{STUDY}", own="127.0.0.3").status == 403  # it may store only
    assert node.send(path, calling="WEB") == [None]  # a source of DICOMweb requests no association


def test_g16_g04_an_object_that_the_disk_does_not_take_is_refused_with_503(node, port, tmp_path):
    resource = pytest.importorskip("resource", reason="limits of another process exist on Linux only")
    if not hasattr(resource, "prlimit"):
        pytest.skip("limits of another process exist on Linux only")
    large, small = image(tmp_path, 14, 2048), image(tmp_path, 15)
    unlimited = resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (6_000_000, resource.RLIM_INFINITY))
    try:
        both = post(port, large.read_bytes(), small.read_bytes())
        alone = post(port, large.read_bytes())
    finally:
        resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, unlimited)
    assert (both.status, both.reasons(), both.stored()) == (202, [0xA700], [uid_of(small)])
    assert (alone.status, alone.reasons(), alone.headers["Retry-After"]) == (503, [0xA700], "30")
    assert post(port, large.read_bytes()).status == 200


def test_g16_g02_a_connection_that_ends_in_an_object_leaves_nothing(node, port, tmp_path):
    def known() -> set[str]:
        return {row[0] for row in node.rows("SELECT sop_instance_uid FROM instances")}

    content = body(image(tmp_path, 22).read_bytes(), image(tmp_path, 23).read_bytes())
    head = f"POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nContent-Type: {TYPE}\r\nContent-Length: {len(content)}\r\n"
    with socket.create_connection(("127.0.0.1", port)) as broken:
        broken.sendall(head.encode() + b"\r\n" + content[:-5000])
        wait_for(lambda: uid_of(tmp_path / "22.dcm") in known(), "the first object")
        wait_for(lambda: list((node.spool / "incoming").iterdir()), "the second object")
    wait_for(lambda: not list((node.spool / "incoming").iterdir()), "its removal")
    assert uid_of(tmp_path / "23.dcm") not in known()


def test_g16_curl_waits_for_the_permission_to_send_and_reads_the_response(port, tmp_path):
    """`Expect: 100-continue` (RFC 9110 10.1.1): an object that is refused is not sent at all."""
    curl = shutil.which("curl") or pytest.skip("curl is not installed")
    (tmp_path / "body").write_bytes(body(image(tmp_path, 16, 1024).read_bytes()))
    command = [curl, "-sS", "-v", "-H", "Expect: 100-continue", "--data-binary", f"@{tmp_path / 'body'}", "-H"]
    command += [f"Content-Type: {TYPE}"]
    url = f"http://127.0.0.1:{port}/dicom-web/studies"
    done = subprocess.run([*command, url], capture_output=True, text=True, timeout=30, check=True)
    assert "100 Continue" in done.stderr and "200 OK" in done.stderr and "00081199" in done.stdout
    refused = subprocess.run([*command, "--interface", "127.0.0.2", url], capture_output=True, text=True, timeout=30)
    assert "403 Forbidden" in refused.stderr and "100 Continue" not in refused.stderr


def test_g16_search_finds_what_the_keys_say(node, archive, port, tmp_path):
    """By dicomweb-client; an object that came by C-STORE is found as well."""
    web = client(port)
    values = {
        "StudyInstanceUID": "1.2.826.1",
        "SeriesInstanceUID": "1.2.826.1.1",
        "SOPInstanceUID": "1.2.826.1.1.1",
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
        "Modality": "CT",
        "PatientName": "Öst^Åsa",
        "PatientID": "A-17",
        "StudyDate": "20251224",
        "StudyTime": "101500.5",
        "SpecificCharacterSet": "ISO_IR 100",
        "StudyDescription": "THORAX",
    }
    path = image(tmp_path, 17, **values)
    assert node.send(path) == [0x0000]
    for keys in (
        {"PatientName": "öst*"},
        {"PatientID": "A-??"},
        {"StudyDate": "20251201-20251231"},
        {"StudyDate": "-20251224", "StudyTime": "1015-"},
        {"ModalitiesInStudy": "CT"},
        {"0020000D": "1.2.826.1,1.2.826.2"},
        {"StudyInstanceUID": "1.2.826.2\\1.2.826.1"},
    ):
        found = web.search_for_studies(search_filters=keys)
        assert [each["0020000D"]["Value"] for each in found] == [["1.2.826.1"]], keys
    (study,) = web.search_for_studies(search_filters={"PatientID": "A-17"}, fields=["StudyDescription"])
    ds = pydicom.Dataset.from_json(study)
    assert (ds.PatientName, ds.StudyDescription, ds.NumberOfStudyRelatedInstances) == ("Öst^Åsa", "THORAX", 1)
    assert (ds.ModalitiesInStudy, ds.NumberOfStudyRelatedSeries, ds.InstanceAvailability) == ("CT", 1, "ONLINE")
    for keys in ({"PatientID": "A-1"}, {"StudyDate": "20251225-"}, {"StudyTime": "1016-"}, {"ModalitiesInStudy": "MR"}):
        assert web.search_for_studies(search_filters=keys | {"StudyInstanceUID": "1.2.826.1"}) == []
    (series,) = web.search_for_series("1.2.826.1", search_filters={"Modality": "CT"})
    assert (series["0020000E"]["Value"], series["00201209"]["Value"]) == (["1.2.826.1.1"], [1])
    assert "00100020" not in series  # the path names the study
    (instance,) = web.search_for_instances("1.2.826.1", "1.2.826.1.1", search_filters={"InstanceNumber": "17"})
    assert (instance["00080018"]["Value"], instance["00280010"]["Value"]) == (["1.2.826.1.1.1"], [64])
    (instance,) = web.search_for_instances(search_filters={"PatientID": "A-17"})
    assert instance["00100020"]["Value"] == ["A-17"]
    (metadata,) = web.retrieve_study_metadata("1.2.826.1")
    sent = pydicom.dcmread(path, stop_before_pixels=True)
    sent.SpecificCharacterSet = "ISO_IR 192"  # of JSON
    assert pydicom.Dataset.from_json(metadata) == sent


def test_g16_search_in_pages_and_what_it_refuses(port, tmp_path):
    assert post(port, image(tmp_path, 18).read_bytes(), image(tmp_path, 19).read_bytes()).status == 200
    for _ in range(20):  # results of this and of earlier tests may still arrive
        every = get(port, "/instances").json()
        first, rest = get(port, "/instances?limit=1"), get(port, "/instances?offset=1")
        if first.json() + rest.json() == every:
            break
        time.sleep(0.2)
    assert first.json() + rest.json() == every
    assert f"There are {len(every) - 1} additional results" in first.headers["Warning"]
    assert rest.headers["Warning"] is None
    assert get(port, "/studies?StudyDate=19000101").status == 204
    assert "PatientComments" in get(port, "/studies?includefield=PatientComments").headers["Warning"]
    assert "00081030" in get(port, "/studies?includefield=all").json()[0]
    for query in (
        *("fuzzymatching=true", "PatientComments=x", "Modality=CT", "nonsense=1", "StudyDate=christmas"),
        *("limit=-1", "StudyInstanceUID=*", "PatientID=a&PatientID=b", "PatientID=%ff"),
    ):
        assert get(port, f"/studies?{query}").status == 400, query
    assert get(port, "/studies?fuzzymatching=false").status == 200
    assert get(port, "/studies", Accept='multipart/related; type="application/dicom+xml"').status == 406


def test_g16_retrieve_converts_nothing_and_says_so(node, port, tmp_path):
    path = image(tmp_path, 20)
    ds = pydicom.dcmread(path)
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.826.9.1"
    ds.StudyInstanceUID = "1.2.826.9"
    ds.compress(JPEGLSLossless, generate_instance_uid=False)
    ds.save_as(path, enforce_file_format=True)
    assert post(port, path.read_bytes()).status == 200
    where = f"/studies/1.2.826.9/series/{ds.SeriesInstanceUID}/instances/1.2.826.9.1"
    refused = get(port, where, Accept='multipart/related; type="application/dicom"')
    assert refused.status == 406 and JPEGLSLossless.encode() in refused.content
    for syntax in ("*", str(JPEGLSLossless)):
        reply = get(port, where, Accept=f"application/dicom; transfer-syntax={syntax}")
        assert (reply.status, reply.headers["Content-Type"]) == (
            200,
            f"application/dicom; transfer-syntax={JPEGLSLossless}",
        )
        (tmp_path / "reply").write_bytes(reply.content)
        assert data_set(tmp_path / "reply") == data_set(path)
    assert get(port, where, Accept="*/*").headers["Content-Type"].startswith("multipart/related")
    assert get(port, "/studies/1.2.826.9", Accept="application/dicom; transfer-syntax=*").status == 406
    for resource in ("frames/1", "rendered", "thumbnail"):
        reply = get(port, f"{where}/{resource}")
        assert reply.status == 406 and resource.partition("/")[0].encode() in reply.content
    for path in ("/studies/9.9", f"/studies/9.9/series/{ds.SeriesInstanceUID}"):
        assert get(port, path).status == 404


def test_g16_g17_receipts_are_counted_and_nobody_is_named(node, port, tmp_path):
    path = image(tmp_path, 21, PatientName="Secret^Name", PatientID="SECRETID")
    assert post(port, path.read_bytes()).status == 200
    assert get(port, "/studies?PatientName=Secret*").status == 200
    with urllib.request.urlopen(f"http://127.0.0.1:{node.http}/metrics") as response:
        metrics = response.read().decode()
    assert 'tfmisr_gateway_dicomweb_requests_total{status="200",transaction="store"}' in metrics
    assert 'tfmisr_gateway_dicomweb_instances_total{status="0000"}' in metrics
    audit = node.command("audit")
    assert "received\tWEB" in audit and "STOW-RS request\tWEB\t\t1 stored, 0 refused" in audit
    assert "search\tWEB\t\t1 study results" in audit
    for word in ("secret", uid_of(path), STUDY):
        assert word not in (metrics + audit + node.text()).lower()
