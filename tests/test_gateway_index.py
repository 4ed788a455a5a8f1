"""The index of DICOMweb and what is made from it: damage, races, files that are gone, two of one instance (G-16)."""

import contextlib
import json
import os
import pathlib

import pydicom
import pytest
from dicomweb_helpers import web_configuration
from gateway_helpers import image, uid_of
from pydicom.uid import ExplicitVRLittleEndian

from tfmisr.gateway import (
    node,
    peers,
    queue,
    schema,
    spool,
    validation,
)
from tfmisr.gateway.dicomweb import matching
from tfmisr.gateway.dicomweb.catalog import Catalog
from tfmisr.gateway.dicomweb.messages import Refused, Request
from tfmisr.gateway.dicomweb.retrieve import Retrieve
from tfmisr.gateway.dicomweb.search import Search

CR = "1.2.840.10008.5.1.4.1.1.1"


def test_names_of_patients_are_for_the_owner_alone(tmp_path):
    """In a spool that somebody else has created, open to all."""
    tmp_path.chmod(0o755)
    mask = os.umask(0o022)
    try:
        with contextlib.closing(queue.Queue(tmp_path / "queue.db")) as entries:
            with contextlib.closing(Catalog(tmp_path, entries)) as catalog:
                catalog._db.execute("BEGIN IMMEDIATE")
                catalog._db.execute("DELETE FROM entries")
                catalog._db.execute("ROLLBACK")
                modes = {path.name: path.stat().st_mode & 0o077 for path in tmp_path.iterdir()}
    finally:
        os.umask(mask)
    assert {"queue.db", "queue.db-wal", "catalog.db"} <= modes.keys() and not any(modes.values()), modes


class Held:
    """A spool with objects in its queue, and the index."""

    def __init__(self, folder: pathlib.Path, count: int) -> None:
        self.folder = folder
        (folder / "objects").mkdir()
        self.queue = queue.Queue(folder / "queue.db")
        self.paths = [image(folder / "objects", number) for number in range(1, count + 1)]
        for path in self.paths:
            self.add(path, uid_of(path))
        self.catalog = Catalog(folder, self.queue)

    def add(self, path: pathlib.Path, uid: str) -> None:
        arrival = schema.Arrival(uid, CR, str(ExplicitVRLittleEndian), path.name, 1, f"objects/{path.name}", "WEB",
                                 "", 0, ("archive",), (), "")  # fmt: skip
        assert self.queue.add(arrival) == queue.NEW

    def close(self) -> None:
        self.catalog.close()
        self.queue.close()


@pytest.fixture
def held(tmp_path):
    found = Held(tmp_path, 3)
    yield found
    found.close()


def overwrite(path: pathlib.Path) -> None:
    with open(path, "r+b") as file:
        file.write(b"\xff" * path.stat().st_size)


def replace(path: pathlib.Path) -> None:
    (path.parent / "other").write_bytes(path.read_bytes())
    os.replace(path.parent / "other", path)


@pytest.mark.parametrize("destroy", [overwrite, replace, pathlib.Path.unlink])
def test_g16_an_index_that_breaks_while_the_node_runs_is_made_again(held, destroy):
    held.catalog.synchronize()
    (study,) = held.catalog.counts()
    destroy(held.folder / "catalog.db")
    with held.queue.transaction() as db:
        db.execute("DELETE FROM deliveries WHERE instance = 1")
        db.execute("DELETE FROM instances WHERE id = 1")
    for call in (held.catalog.forget, held.catalog.synchronize):
        with contextlib.suppress(Exception):
            call()
    held.catalog.synchronize()
    assert len(held.catalog.held(study)) == 2 and len(list(held.catalog.entries())) == 2


def test_g16_an_index_that_lacks_rows_is_made_again(held):
    """After a power cut, an index inside of the database may lack rows of its table: they would not be found."""
    held.catalog.synchronize()
    for name, columns in (("entries_study", "(study, series, uid)"), ("entries_uid", "(uid)")):
        text = f"CREATE INDEX {name} ON entries {columns}"
        held.catalog._db.executescript(
            f"DROP INDEX {name}; {text} WHERE instance > 1; PRAGMA writable_schema=ON; "
            f"UPDATE sqlite_master SET sql = '{text}' WHERE name = '{name}'; PRAGMA writable_schema=OFF;"
        )
    held.catalog.close()
    held.catalog = Catalog(held.folder, held.queue)
    held.catalog.synchronize()
    (study,) = held.catalog.counts()
    assert len(held.catalog.held(study)) == 3


def test_g16_a_study_of_which_a_file_is_lost_is_not_given_as_complete(held):
    """PS3.18 Table 10.4.3-1: 206 where a response has some of the instances and not all."""
    retrieve = Retrieve(held.folder, held.catalog)
    held.catalog.synchronize()
    (study,) = held.catalog.counts()
    held.paths[1].unlink()
    request = Request("GET", "", (), {"accept": "*/*"}, peers.Peer("127.0.0.1"), iter(()), "http://x")
    response = retrieve.files(request, retrieve.find(study), False)
    assert response.status == 206 and "1 " in dict(response.headers)["Warning"]
    assert b"".join(response.body).count(b"DICM") == 2
    assert retrieve.metadata(request, retrieve.find(study)).status == 206
    held.paths[0].unlink()
    held.paths[2].unlink()
    with pytest.raises(Refused):
        retrieve.find(study)


def test_g16_an_instance_that_is_there_twice_is_counted_and_given_once(held):
    """A result that came from another gateway, and was then made here as well: one UID, the same bytes."""
    result = held.folder / "result.dcm"
    result.write_bytes(held.paths[1].read_bytes())
    with held.queue.transaction() as db:
        db.execute(
            "UPDATE instances SET result_file = 'result.dcm', result_uid = ?, result_syntax = ?, "
            "result_digest = '2.dcm' WHERE id = 1",
            (uid_of(result), str(ExplicitVRLittleEndian)),
        )
    held.catalog.synchronize()
    ((study, counts),) = held.catalog.counts().items()
    assert counts == (["CR"], 1, 3) and list(held.catalog.series().values()) == [3]
    assert len(held.catalog.held(study)) == 3 and len(list(held.catalog.entries())) == 3


def test_g16_a_name_with_all_its_groups_is_found():
    """PS3.5 6.2: groups of a name are separated by =; a client searches for what a file has."""
    groups = ("Yamada^Tarou", "山田^太郎", "やまだ^たろう")
    name = {"00100010": {"vr": "PN", "Value": [dict(zip(matching.GROUPS, groups, strict=True))]}}
    for wanted in ("=".join(groups), "yamada^tarou=山田^太郎", "=山田*", "Yamada*=", "*=*=やまだ*"):
        assert matching.matches(name, "PatientName", wanted), wanted
    for wanted in ("Yamada^Tarou=other", "山田^太郎=Yamada^Tarou", "=Yamada*", "=".join(groups) + "=", "*=?"):
        assert not matching.matches(name, "PatientName", wanted), wanted


def test_without_the_service_its_index_is_removed(tmp_path):
    """It would keep the names of patients whose objects are long gone."""
    text = web_configuration({"archive": 104}, more="", spool=str(tmp_path / "spool"))
    (tmp_path / "gateway.toml").write_text(text)
    settings = validation.read(tmp_path / "gateway.toml")
    store = spool.Spool(settings.node.spool)
    store.create()
    (store.folder / "catalog.db").write_bytes(b"Secret^Name")
    found = node.Node(settings, store)
    found._queue.close()
    assert not (store.folder / "catalog.db").exists()


def test_g16_a_study_that_is_indexed_during_a_search_is_no_error(held, monkeypatch):
    """Another request indexes it after its modalities were asked for, and before its series were."""
    monkeypatch.setattr(held.catalog, "series", lambda study: {("1.2.3", "1.2.3.4"): 1})
    assert held.catalog.counts() == {}


@pytest.mark.filterwarnings("ignore:Invalid value for VR DS")
def test_g16_a_value_that_is_no_number_leaves_the_response_json(held):
    """RFC 8259 6: NaN and Infinity are none; a browser would read nothing of the whole response."""
    ds = pydicom.dcmread(held.paths[0])
    ds.PatientWeight, ds.RealWorldValueSlope = "NaN", [float("inf"), 1.5]
    ds.save_as(held.paths[0], enforce_file_format=True)
    request = Request("GET", "", (("includefield", "all"),), {}, peers.Peer("127.0.0.1"), iter(()), "http://x")
    response, count = Search(held.catalog)(request, "instance", "http://x")
    assert count == 3

    def strict(text):
        return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))

    assert strict(response.body)[0]["00101030"]["vr"] == "DS"
    retrieve = Retrieve(held.folder, held.catalog)
    (study,) = held.catalog.counts()
    found = strict(b"".join(retrieve.metadata(request, retrieve.find(study)).body))
    assert found[0]["00409225"]["Value"] == [None, 1.5]


@pytest.mark.parametrize("content", [{}, {"00100010": {"vr": "PN"}}, {"00100010": {"vr": "PN", "Value": [None]}}])
def test_g16_an_asterisk_alone_matches_what_has_no_value(content):
    """PS3.4 C.2.2.2.4: it is universal matching; other wildcards need a value."""
    assert matching.matches(content, "PatientName", "*") and matching.matches(content, "PatientID", "**")
    for wanted in ("?", "None", "*?", "N*"):
        assert not matching.matches(content, "PatientName", wanted)


@pytest.mark.parametrize(
    "key, value", [("ModalitiesInStudy", "CT,MR"), ("ModalitiesInStudy", "CT\\MR"), ("PatientID", "1\\2")]
)
def test_g16_a_list_of_values_is_refused_not_taken_for_one(key, value):
    """No value holds these characters (PS3.5 6.2): the answer would be that there is no such study."""
    with pytest.raises(Refused, match=f"one value for {key}") as error:
        matching.parse(((key, value),), "study")
    assert error.value.status == 400
    assert matching.parse((("PatientName", "Smith,John"), ("StudyInstanceUID", "1.2,1.3")), "study").keys
