"""Manifests, stores by URL, and the ledger of `tfmisr.cluster` (S-02, S-03, S-04)."""

import contextlib
import os
import pathlib
import sqlite3
import time

import pytest

from tfmisr.cluster import ledger as ledgers
from tfmisr.cluster import manifest, parts, status, stores
from tfmisr.cluster.manifest import Row
from tfmisr.edge.errors import InputError

NAMES = ("color", "tile")


@pytest.fixture
def memory():
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    stores.forget_listings()
    yield system
    system.store.clear()


def write(path, text, encoding="utf-8"):
    path.write_text(text, encoding=encoding)
    return str(path)


def test_s02_csv_manifest(tmp_path):
    text = 'target,source,options\na/1.png,in/1.png,\nb 2.tif,/data/2.tif,"{""tile"": 64, ""color"": ""luma""}"\n'
    rows = list(manifest.read(write(tmp_path / "m.csv", text, "utf-8-sig"), NAMES))
    assert rows == [
        Row(str(tmp_path / "in" / "1.png"), "a/1.png", "{}"),
        Row("/data/2.tif", "b 2.tif", '{"color": "luma", "tile": 64}'),
    ]


def test_s02_parquet_manifest_equals_csv(tmp_path, memory):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"source": ["s3://b/1.png", "2.png"], "target": ["1.png", "2.png"], "other": [1, 2]})
    parquet.write_table(table, tmp_path / "m.parquet")
    rows = [Row("s3://b/1.png", "1.png", "{}"), Row(str(tmp_path / "2.png"), "2.png", "{}")]
    assert list(manifest.read(str(tmp_path / "m.parquet"))) == rows
    memory.pipe_file("/x/m.parquet", (tmp_path / "m.parquet").read_bytes())
    assert list(manifest.read("memory://x/m.parquet"))[1] == Row("memory://x/2.png", "2.png", "{}")
    write(tmp_path / "bad.parquet", "no parquet")
    with pytest.raises(InputError, match="is no Parquet file"):
        list(manifest.read(str(tmp_path / "bad.parquet")))


@pytest.mark.parametrize(
    "text,message",
    [
        ("source,path\na,b\n", "needs a column target. Received: source, path"),
        ("", "needs a column source"),
        ("source,target\n,b.png\n", "row 1: source is empty"),
        ("source,target\na,1.png\na\n", "row 2: target must be the name of a file"),
        ("source,target,options\na,1.png,[1]\n", "row 1: options must be a JSON object"),
        (
            'source,target,options\na,1.png,"{""colour"": 1}"\n',
            "options may have color, tile. Received: colour; did you",
        ),
        *(
            (f"source,target\na,{name}\n", "stay in the output folder")
            for name in ("../x.png", "/x.png", "a/../../x.png")
        ),
        *((f"source,target\na,{name}\n", "stay in the output folder") for name in ("s3://b/x.png", "a/../b.png")),
        *(
            (f"source,target\na,{name}\n", "name of a file")
            for name in ("a/", ".", ".tfmisr/ledger.sqlite", "a/.b.png")
        ),
    ],
)
def test_wrong_manifest_is_refused_by_row(tmp_path, text, message):
    with pytest.raises(InputError, match=message.replace(".", r"\.").replace("[", r"\[")):
        list(manifest.read(write(tmp_path / "m.csv", text), NAMES))


def test_manifest_in_another_encoding_is_refused(tmp_path):
    with pytest.raises(InputError, match="no CSV file in UTF-8"):
        list(manifest.read(write(tmp_path / "m.csv", "source,target\nä,b.png\n", "latin-1")))


@pytest.mark.parametrize("url", ["memory://bucket/a b.png", "local://{}/a b.png"])
def test_s02_result_in_a_store_appears_complete_or_not_at_all(tmp_path, memory, url):
    url = url.format(tmp_path)
    with pytest.raises(KeyError), stores.published(url) as path:
        path.write_bytes(b"half")
        raise KeyError
    assert stores.size_and_stamp(url) is None
    with stores.published(url) as path:
        path.write_bytes(b"content")
    assert stores.read_bytes(url) == b"content"
    assert stores.size_and_stamp(url)[0] == 7
    stores.forget_listings()
    assert stores.size_and_stamp(url, listed=True) == stores.size_and_stamp(url)
    with stores.fetched(url) as path:
        assert (path.read_bytes(), path.suffix) == (b"content", ".png")
    assert os.listdir(tmp_path) == (["a b.png"] if url.startswith("local") else [])


def test_s02_a_put_that_fails_leaves_nothing_under_the_final_name(tmp_path, monkeypatch, memory):
    system, _ = stores.file_system(f"local://{tmp_path}/x")
    seen = []

    def fail(self, source, target, **_):
        seen.append(pathlib.Path(target).name)
        pathlib.Path(target).write_bytes(b"half")
        raise ConnectionError("gone")

    monkeypatch.setattr(type(system), "put_file", fail)
    with pytest.raises(ConnectionError), stores.published(f"local://{tmp_path}/x.png") as path:
        path.write_bytes(b"content")
    assert seen[0].startswith(".") and seen[0].endswith(".x.png")
    assert os.listdir(tmp_path) == []


def test_s02_files_of_a_store(memory):
    for name in ("b/2.png", "b/1.dcm", "b/.hidden.png", "b/notes.txt", "b/c/IM0001", "b/__MACOSX/1.png"):
        memory.pipe_file(f"/{name}", b"x")
    found = list(stores.files("memory://b", (".png", ".dcm")))
    assert found == [(f"memory://b/{name}", name) for name in ("1.dcm", "2.png", "c/IM0001")] or found == [
        (f"memory:///b/{name}", name) for name in ("1.dcm", "2.png", "c/IM0001")
    ]
    assert [name for _, name in stores.files("memory://b/*.png", (".png", ".dcm"))] == ["2.png"]
    assert [name for _, name in stores.files("memory://b/2.png", (".png",))] == ["2.png"]


def test_unknown_store_is_reported():
    pytest.importorskip("fsspec")
    with pytest.raises(InputError, match="s4://: Protocol not known"):
        stores.file_system("s4://bucket/key")


def listed(path, names=("a", "b", "c")):
    ledger = ledgers.Ledger(path)
    ledger.begin(Row(f"/in/{name}", f"{name}.png") for name in names)
    return ledger


def test_s04_ledger_has_a_row_per_image_and_survives(tmp_path):
    with listed(tmp_path / "l.sqlite") as ledger:
        ledger.record("a.png", "done", seconds=0.5, size=10, tries=1, identity="i", stamp="s", sha256="h")
        ledger.record("b.png", "quarantined", seconds=2.0, error="crashed", tries=3)
    with listed(tmp_path / "l.sqlite", ("b", "a", "d")) as ledger:  # c is no longer listed
        entries = {entry.target: entry for entry in ledger.entries()}
        assert {name: entry.status for name, entry in entries.items()} == {
            "a.png": "done", "b.png": "quarantined", "d.png": "pending"
        }  # fmt: skip
        assert (entries["a.png"].size, entries["a.png"].sha256) == (10, "h")
        assert ledger.unusable() == (1, ["/in/b"])
        ledger.set_pending(["b.png"])
        assert [entry.target for entry in ledger.entries("pending")] == ["b.png", "d.png"]
    assert status.read(tmp_path / "l.sqlite").counts == {"done": 1, "pending": 2}


def test_s04_status_while_another_process_writes(tmp_path):
    with listed(tmp_path / "l.sqlite") as ledger:
        ledger.record("a.png", "done", seconds=0.5, size=10)
        ledger.record("b.png", "quarantined", seconds=1.5, error="took too long", tries=3)
        ledger.commit()
        ledger._database.execute("BEGIN IMMEDIATE")  # in the middle of the next transaction
        found = status.read(tmp_path / "l.sqlite")
    assert found.counts == {"done": 1, "quarantined": 1, "pending": 1}
    assert found.seconds == 1.0 and found.rate > 0
    lines = found.lines()
    assert lines[0] == "3 images: 1 done, 1 quarantined, 1 pending"
    assert "images/s in the last minute, 1 s an image" in lines[1]
    assert lines[2] == "quarantined: /in/b: took too long"


@pytest.mark.parametrize("size", [2, 3, ledgers.PAGE])
def test_s03_duplicate_targets_are_refused_and_leave_no_rows(tmp_path, monkeypatch, size):
    rows = [Row("/in/1", "a.png"), Row("/in/2", "b.png"), Row("/in/3", "a.png")]
    monkeypatch.setattr(ledgers, "pages", lambda found: filter(None, (rows[i : i + size] for i in (0, size))))
    with ledgers.Ledger(tmp_path / "l.sqlite") as ledger:
        with pytest.raises(InputError, match="/in/1 and /in/3 would both be written to a.png"):
            ledger.begin(rows)
        assert list(ledger.rows()) == []


def test_same_image_twice_is_refused(tmp_path):
    with ledgers.Ledger(tmp_path / "l.sqlite") as ledger:
        with pytest.raises(InputError, match="/in/1 and /in/1 would both"):
            ledger.begin([Row("/in/1", "a.png")] * 2)


def test_a_new_ledger_is_removed_after_a_users_error(tmp_path):
    with pytest.raises(InputError, match="row 2"), parts.opened(str(tmp_path / "out" / "x")) as (ledger, none):
        assert none is None
        write(tmp_path / "m.csv", "source,target\na,1.png\na,../1.png\n")
        ledger.begin(manifest.read(str(tmp_path / "m.csv")))
    assert os.listdir(tmp_path) == ["m.csv"]


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be read as one" * 99, b"short"])
def test_file_that_is_no_ledger_is_refused(tmp_path, content):
    (tmp_path / ".tfmisr").mkdir()
    (tmp_path / ".tfmisr" / "ledger.sqlite").write_bytes(content)
    for read in (lambda: ledgers.Ledger(tmp_path / ledgers.NAME), lambda: status.of_folder(str(tmp_path))):
        with pytest.raises(InputError, match="is not a ledger"):
            read()


def test_names_that_are_not_utf8_are_refused(tmp_path):
    with ledgers.Ledger(tmp_path / "l.sqlite") as ledger, pytest.raises(InputError, match="valid UTF-8"):
        ledger.begin([Row("/in/\udcfc", "a.png")])


def test_transaction_of_a_killed_command_is_undone(tmp_path):
    ledger = listed(tmp_path / "l.sqlite")
    ledger._committed = time.monotonic()
    ledger.record("a.png", "done", size=1)
    for name in os.listdir(tmp_path):  # as the disk is when the command is killed now
        (tmp_path / f"copy.{name}").write_bytes((tmp_path / name).read_bytes())
    os.rename(tmp_path / "copy.l.sqlite", tmp_path / "copy")
    with contextlib.suppress(FileNotFoundError):
        os.rename(tmp_path / "copy.l.sqlite-journal", tmp_path / "copy-journal")
    ledger.close()
    assert status.read(tmp_path / "copy").counts == {"pending": 3}
    assert status.read(tmp_path / "l.sqlite").counts == {"done": 1, "pending": 2}


def test_s04_parts_in_a_store_are_merged(memory, monkeypatch):
    pytest.importorskip("pyarrow")
    url = "memory://bucket/out"
    rows = [Row(f"/in/{i}", f"{i}.png") for i in range(3)]

    class KilledError(Exception):
        pass

    with pytest.raises(KilledError), parts.opened(url) as (ledger, written):
        ledger.begin(rows)
        ledger.record("0.png", "done", size=7, stamp="s", seconds=0.25)
        written.write()
        monkeypatch.setattr(parts.Parts, "write", lambda self: None)
        ledger.record("1.png", "done", size=8)  # lost: it is made again, to the same file
        raise KilledError
    monkeypatch.undo()
    assert len(memory.ls("/bucket/out/.tfmisr/parts")) == 1
    assert status.of_folder(url).counts == {"done": 1}
    with parts.opened(url) as (ledger, _):
        ledger.begin(rows)
        assert [entry.status for entry in ledger.entries()] == ["done", "pending", "pending"]
        ledger.record("1.png", "failed", error="no image")
    assert memory.ls("/bucket/out/.tfmisr", detail=False) in (
        ["/bucket/out/.tfmisr/ledger.parquet"], ["/bucket/out/.tfmisr/ledger.parquet", "/bucket/out/.tfmisr/parts"]
    )  # fmt: skip
    assert status.of_folder(url).counts == {"done": 1, "failed": 1, "pending": 1}
    with pytest.raises(InputError, match="expected the ledger of a run"):
        status.of_folder("memory://bucket/other")


def test_ledger_is_an_ordinary_database(tmp_path):
    listed(tmp_path / "l.sqlite").close()
    database = sqlite3.connect(tmp_path / "l.sqlite")
    names = [row[1] for row in database.execute("PRAGMA table_info(images)")]
    database.close()
    assert {"source", "target", "status", "seconds", "size", "error"} <= set(names)
