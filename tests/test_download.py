import hashlib
import http.server
import shutil
import socket
import types

import pytest
from loopback import serving

from tfmisr.data import download
from tfmisr.edge.errors import InputError

CONTENT = bytes(range(256)) * 1200  # 307,200 bytes
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """A file server whose faults are chosen by the attributes of the server."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        server.requests.append(dict(self.headers.items()))
        if server.answers:
            return self.answer(*server.answers.pop(0))
        if self.path == "/moved":
            return self.answer(302, {"Location": "/file"})
        if self.path != "/file":
            return self.answer(404, {})
        start = self.start()
        if start is not None and start >= len(server.content):
            return self.answer(416, {"Content-Range": f"bytes */{len(server.content)}"})
        self.send_file(start)

    def start(self):
        asked, same = self.headers.get("Range"), self.headers.get("If-Range", self.server.etag)
        if not asked or not self.server.ranges or same != self.server.etag:
            return None
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def send_file(self, start):
        server, body = self.server, self.server.content[start or 0 :]
        self.send_response(200 if start is None else 206)
        if start is not None:
            end = len(server.content)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{end}")
        if server.etag:
            self.send_header("ETag", server.etag)
        self.send_header("Content-Type", server.kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = server.cuts.pop(0) if server.cuts else len(body)
        self.wfile.write(body[:cut])
        self.wfile.flush()
        if cut < len(body):
            self.close_connection = True

    def answer(self, status, headers):
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.content, server.etag, server.ranges, server.kind = CONTENT, '"first"', True, "application/gzip"
    server.cuts, server.answers, server.requests = [], [], []
    server.url = f"http://127.0.0.1:{server.server_address[1]}/file"
    with serving(server):
        yield server


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """The pauses between attempts, noted in place of being made."""
    taken = []
    monkeypatch.setattr(download, "time", types.SimpleNamespace(sleep=taken.append))
    return taken


def ranges_asked(server):
    return [headers.get("Range") for headers in server.requests]


def test_a_file_arrives_whole_and_leaves_nothing_else(server, tmp_path):
    path = download.download(server.url, tmp_path / "new" / "a.gz", MD5)
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == ["a.gz"]


def test_a_killed_connection_is_taken_up_where_it_broke(server, tmp_path):
    server.cuts = [100_000, 50_000]
    path = download.download(server.url, tmp_path / "a.gz", MD5)
    assert path.read_bytes() == CONTENT
    assert ranges_asked(server) == [None, "bytes=100000-", "bytes=150000-"]


def test_a_later_call_goes_on_where_an_interrupted_one_stopped(server, tmp_path, monkeypatch):
    server.cuts = [70_000]

    def interrupt(seconds):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(download.time, "sleep", interrupt)
        download.download(server.url, tmp_path / "a.gz", MD5)
    assert not (tmp_path / "a.gz").exists()
    assert download.bytes_kept(tmp_path / "a.gz") == 70_000
    assert download.download(server.url, tmp_path / "a.gz", MD5).read_bytes() == CONTENT
    assert ranges_asked(server) == [None, "bytes=70000-"]
    assert server.requests[-1]["If-Range"] == '"first"'


def test_interrupting_a_transfer_keeps_what_came(server, tmp_path, monkeypatch):
    chunks = download._chunks

    def interrupted(response):
        yield next(chunks(response))
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "_chunks", interrupted)
    with pytest.raises(KeyboardInterrupt):
        download.download(server.url, tmp_path / "a.gz", MD5)
    kept = (tmp_path / "a.gz.part").read_bytes()
    assert kept and CONTENT.startswith(kept)


def test_a_server_without_ranges_sends_the_file_again_from_the_start(server, tmp_path):
    server.ranges, server.cuts = False, [100_000]
    assert download.download(server.url, tmp_path / "a.gz", MD5).read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_a_file_that_changed_on_the_server_is_not_joined_to_the_old_part(server, tmp_path, pauses):
    server.cuts = [100_000]
    new = CONTENT[::-1]

    def change(seconds):
        server.content, server.etag = new, '"second"'

    download.time.sleep = change
    assert download.download(server.url, tmp_path / "a.gz").read_bytes() == new


def test_another_range_than_asked_for_starts_anew(server, tmp_path):
    (tmp_path / "a.gz.part").write_bytes(CONTENT[:1000])
    server.answers = [(206, {"Content-Range": f"bytes 0-10/{len(CONTENT)}"})]
    assert download.download(server.url, tmp_path / "a.gz", MD5).read_bytes() == CONTENT


def test_a_part_that_is_all_there_is_not_fetched_again(server, tmp_path):
    (tmp_path / "a.gz.part").write_bytes(CONTENT)
    assert download.download(server.url, tmp_path / "a.gz", MD5).read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_part_longer_than_the_file_starts_anew(server, tmp_path):
    (tmp_path / "a.gz.part").write_bytes(CONTENT + b"more")
    assert download.download(server.url, tmp_path / "a.gz", MD5).read_bytes() == CONTENT


def test_a_redirection_keeps_the_range(server, tmp_path):
    server.cuts = [100_000]
    url = server.url.replace("/file", "/moved")
    assert download.download(url, tmp_path / "a.gz", MD5).read_bytes() == CONTENT
    assert ranges_asked(server)[-2:] == ["bytes=100000-", "bytes=100000-"]


def test_a_wrong_md5_sum_deletes_the_download_and_keeps_the_file_before_it(server, tmp_path):
    (tmp_path / "a.gz").write_bytes(b"old")
    with pytest.raises(InputError, match=f"sum {'0' * 32}. Received: {MD5} "):
        download.download(server.url, tmp_path / "a.gz", "0" * 32)
    assert [p.name for p in tmp_path.iterdir()] == ["a.gz"]
    assert (tmp_path / "a.gz").read_bytes() == b"old"


def test_a_missing_file_is_told_in_one_line_without_another_attempt(server, tmp_path, pauses):
    with pytest.raises(InputError, match="HTTP 404") as error:
        download.download(server.url + "s", tmp_path / "a.gz", MD5)
    assert "\n" not in str(error.value)
    assert len(server.requests) == 1 and not pauses


def test_a_busy_server_is_asked_again_after_the_time_it_names(server, tmp_path, pauses):
    server.answers = [(503, {"Retry-After": "7"}), (500, {}), (429, {"Retry-After": "99999"})]
    assert download.download(server.url, tmp_path / "a.gz", MD5).read_bytes() == CONTENT
    assert pauses == [7, 2, 120]


def test_pauses_double_and_attempts_that_bring_nothing_end(server, tmp_path, pauses):
    server.answers = [(500, {})] * 20
    with pytest.raises(InputError, match="6 attempts .HTTP 500.*start the same command again"):
        download.download(server.url, tmp_path / "a.gz", MD5)
    assert len(server.requests) == 6
    assert pauses == [1, 2, 4, 8, 16]


def test_progress_resets_the_count_of_attempts(server, tmp_path):
    server.cuts = [10_000] * 20
    assert download.download(server.url, tmp_path / "a.gz", MD5).read_bytes() == CONTENT
    assert len(server.requests) == 21


def test_a_silent_server_is_asked_again(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/file"
        with pytest.raises(InputError, match="6 attempts .*time"):
            download.download(url, tmp_path / "a.gz", MD5)


def test_no_network_is_told_in_one_line_without_waiting(tmp_path, pauses):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/file"
    with pytest.raises(InputError, match="127.0.0.1 cannot be reached .*refused.*--manual_dir") as error:
        download.download(url, tmp_path / "a.gz", MD5)
    assert "\n" not in str(error.value)
    assert not pauses


def test_a_web_page_in_place_of_the_file_is_refused(server, tmp_path):
    server.kind = "text/html; charset=utf-8"
    with pytest.raises(InputError, match="received a web page"):
        download.download(server.url, tmp_path / "a.gz", MD5)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://host/a.gz", "a.gz"])
def test_only_http_addresses_are_opened(url, tmp_path):
    with pytest.raises(InputError, match="http or https"):
        download.download(url, tmp_path / "a.gz")


def test_a_download_that_does_not_fit_is_refused_before_it_is_written(server, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=1000))
    with pytest.raises(InputError, match="free disk space"):
        download.download(server.url, tmp_path / "a.gz", MD5)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "needed, free, message",
    [
        (45_079_862_784, 30 * 10**9, r"45.1 GB of free disk space .* Received: 30.0 GB"),
        (2_400_000, 50_000, r"2.4 MB of free disk space .* Received: 0.1 MB"),
    ],
)
def test_free_space_names_what_is_needed_and_what_is_there(needed, free, message, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=free))
    with pytest.raises(InputError, match=message):
        download.require_free_space(tmp_path, needed)


def test_free_space_is_asked_of_the_disk_that_will_hold_a_folder_still_to_be_made(tmp_path, monkeypatch):
    asked = []
    usage = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: asked.append(path) or usage(path))
    download.require_free_space(tmp_path / "not" / "yet", 1)
    assert asked == [tmp_path]


def test_md5_of_is_that_of_the_standard_library(tmp_path):
    (tmp_path / "a").write_bytes(CONTENT)
    assert download.md5_of(tmp_path / "a") == MD5
