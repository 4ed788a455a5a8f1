import functools
import hashlib
import http.server
import io
import pathlib
import shutil
import socket
import subprocess
import sys
import tarfile
import types

import pytest
from loopback import serving
from PIL import Image

from tfmisr import cli, prepare
from tfmisr.data import download
from tfmisr.datasets.chest_xray14 import downloads
from tfmisr.edge.errors import InputError

TRAIN_VAL = [f"{patient:08d}_000" for patient in range(1, 6)]
TEST = ["00000011_004"]


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def png():
    file = io.BytesIO()
    Image.new("L", (1024, 1024), 50).save(file, "PNG", compress_level=1)
    return file.getvalue()


def tarball(ids):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as tar:
        for name in ids:
            info = tarfile.TarInfo(f"images/{name}.png")
            info.size = len(png())
            tar.addfile(info, io.BytesIO(png()))
    return file.getvalue()


@pytest.fixture(scope="module")
def published():
    """A small archive with the names of the real one."""
    return {
        "train_val_list.txt": "\n".join(f"{i}.png" for i in TRAIN_VAL).encode(),
        "test_list.txt": "\n".join(f"{i}.png" for i in TEST).encode(),
        "images_001.tar.gz": tarball(TRAIN_VAL[:3]),
        "images_002.tar.gz": tarball(TRAIN_VAL[3:] + TEST),
    }


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.paths.append(self.path)
        super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def mirror(published, tmp_path, monkeypatch):
    """A server on loopback with the small archive, whose sums stand in for NIH's."""
    folder = tmp_path / "served"
    folder.mkdir()
    for name, content in published.items():
        (folder / name).write_bytes(content)
    files = tuple(downloads.File(n, f"http://nowhere/{n}", len(c), md5(c)) for n, c in published.items())
    monkeypatch.setattr(downloads, "FILES", files)
    enough = types.SimpleNamespace(total=200 * 10**9, used=100 * 10**9, free=100 * 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: enough)  # the real dataset's space is asked for
    handler = functools.partial(Handler, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.paths, server.url = [], f"http://127.0.0.1:{server.server_address[1]}"
    with serving(server):
        yield server


def run(*argv):
    return prepare.main([str(argument) for argument in argv])


def refused(capsys, *argv):
    """Runs the command as a user would; returns its one line about a mistake."""
    with pytest.raises(SystemExit) as stopped:
        cli.run(lambda: run(*argv))
    lines = capsys.readouterr().err.strip().splitlines()
    assert stopped.value.code == 2
    assert len(lines) == 1
    return lines[0]


def test_the_archive_is_downloaded_checked_and_prepared(mirror, published, tmp_path, capsys):
    assert run("chest_xray14", "--data_dir", tmp_path / "d", "--mirror", mirror.url + "/") == 0
    folder = tmp_path / "d" / "downloads" / "chest_xray14"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == published
    said = capsys.readouterr().out
    assert "downloading images_002.tar.gz" in said
    assert "chest_xray14/512: train 5, test 1 images (gray, 8 bit)" in said
    assert f"prepared in {tmp_path / 'd' / 'chest_xray14' / '512'}" in said


def test_a_download_broken_off_in_the_first_file_goes_on(mirror, published, tmp_path):
    folder = tmp_path / "d" / "downloads" / "chest_xray14"
    folder.mkdir(parents=True)
    (folder / "train_val_list.txt.part").write_bytes(published["train_val_list.txt"][:20])
    assert run("chest_xray14", "--data_dir", tmp_path / "d", "--mirror", mirror.url) == 0
    assert (folder / "train_val_list.txt").read_bytes() == published["train_val_list.txt"]


def test_files_that_are_there_are_not_downloaded_again(mirror, published, tmp_path):
    folder = tmp_path / "d" / "downloads" / "chest_xray14"
    folder.mkdir(parents=True)
    (folder / "images_01.tar.gz").write_bytes(published["images_001.tar.gz"])
    (folder / "images_002.tar.gz").write_bytes(published["images_002.tar.gz"])
    run("chest_xray14", "--data_dir", tmp_path / "d", "--mirror", mirror.url)
    assert mirror.paths == ["/train_val_list.txt", "/test_list.txt"]
    run("chest_xray14", "--data_dir", tmp_path / "d", "--mirror", mirror.url)
    assert len(mirror.paths) == 2


def test_a_file_with_another_md5_sum_is_downloaded_again(mirror, published, tmp_path, capsys):
    folder = tmp_path / "d" / "downloads" / "chest_xray14"
    folder.mkdir(parents=True)
    (folder / "images_01.tar.gz").write_bytes(b"damaged")
    run("chest_xray14", "--data_dir", tmp_path / "d", "--mirror", mirror.url)
    assert (folder / "images_01.tar.gz").read_bytes() == published["images_001.tar.gz"]
    assert not (folder / "images_001.tar.gz").exists()
    assert "images_01.tar.gz does not have the published md5 sum" in capsys.readouterr().out


def test_a_mirror_with_other_files_is_refused(mirror, tmp_path, capsys):
    (tmp_path / "served" / "images_002.tar.gz").write_bytes(b"something else")
    line = refused(capsys, "chest_xray14", "--data_dir", tmp_path / "d", "--mirror", mirror.url)
    assert "images_002.tar.gz must have the published md5 sum" in line
    assert not (tmp_path / "d" / "downloads" / "chest_xray14" / "images_002.tar.gz").exists()


def test_the_next_run_goes_on_with_the_file_that_was_broken_off(mirror, published, tmp_path, monkeypatch):
    asked = []
    fetch = download.download
    monkeypatch.setattr(download, "download", lambda url, path, md5: asked.append(path.name) or fetch(url, path, md5))
    (tmp_path / "served" / "images_002.tar.gz").rename(tmp_path / "later")
    with pytest.raises(InputError, match="HTTP 404"):
        run("chest_xray14", "--data_dir", tmp_path / "d", "--mirror", mirror.url)
    (tmp_path / "later").rename(tmp_path / "served" / "images_002.tar.gz")
    assert len(asked) == 4
    run("chest_xray14", "--data_dir", tmp_path / "d", "--mirror", mirror.url)
    assert asked[4:] == ["images_002.tar.gz"]


def test_free_space_for_archive_and_dataset_is_checked_before_any_download(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=50 * 10**9))
    line = refused(capsys, "chest_xray14", "--data_dir", tmp_path)
    assert "70.9 GB of free disk space are needed" in line  # 45.08 GB and 112,120 images of twice 115 kB
    assert "Received: 50.0 GB" in line


def test_what_has_come_already_is_taken_off_the_space_needed(mirror, published, tmp_path, monkeypatch):
    needed = []
    monkeypatch.setattr(download, "require_free_space", lambda folder, size: needed.append(size))
    folder = tmp_path / "downloads"
    folder.mkdir()
    (folder / "images_001.tar.gz").write_bytes(published["images_001.tar.gz"])
    (folder / "images_002.tar.gz.part").write_bytes(published["images_002.tar.gz"][:100])
    with pytest.raises(InputError):
        downloads.fetch(folder, "http://127.0.0.1:9", reserve=7)
    rest = sum(map(len, published.values())) - len(published["images_001.tar.gz"]) - 100
    assert needed == [rest + 7]


def test_without_a_network_the_command_says_so_in_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=100 * 10**9))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    line = refused(capsys, "chest_xray14", "--data_dir", tmp_path, "--mirror", address)
    assert "cannot be reached" in line and "--manual_dir" in line


def test_an_unknown_configuration_is_refused_before_any_download(mirror, tmp_path, capsys):
    line = refused(capsys, "chest_xray14/256", "--data_dir", tmp_path, "--mirror", mirror.url)
    assert "512, 1024" in line and "chest_xray14/256" in line
    assert not mirror.paths


@pytest.mark.parametrize("address", ["file:///srv/nih", "nih.example"])
def test_a_mirror_that_is_no_http_address_is_refused(address, tmp_path, capsys):
    line = refused(capsys, "chest_xray14", "--data_dir", tmp_path, "--mirror", address)
    assert f"--mirror must be an http or https address. Received: {address}" in line


def write_copy(folder, ids):
    folder.mkdir()
    for file, listed in (("train_val_list.txt", TRAIN_VAL), ("test_list.txt", TEST)):
        (folder / file).write_text("\n".join(f"{i}.png" for i in listed))
    for name in ids:
        (folder / f"{name}.png").write_bytes(png())
    return folder


def test_several_folders_are_prepared_together(tmp_path, capsys):
    folders = [write_copy(tmp_path / "a", TRAIN_VAL[:2]), write_copy(tmp_path / "b", TRAIN_VAL[2:] + TEST)]
    assert run("chest_xray14/1024", "--data_dir", tmp_path / "d", "--manual_dir", *folders) == 0
    assert "chest_xray14/1024: train 5, test 1 images (gray, 8 bit)" in capsys.readouterr().out


def test_a_folder_that_is_the_archive_is_prepared_by_its_path(tmp_path, capsys):
    folder = write_copy(tmp_path / "copy", TRAIN_VAL)
    assert run(folder, "--data_dir", tmp_path / "d") == 0
    assert "chest_xray14/512: train 5 images" in capsys.readouterr().out


def test_a_mirror_for_what_is_not_downloaded_is_refused(tmp_path, capsys):
    folder = write_copy(tmp_path / "copy", TRAIN_VAL)
    line = refused(capsys, "chest_xray14", "--manual_dir", folder, "--mirror", "http://127.0.0.1:9")
    assert "--mirror is for datasets that are downloaded" in line


def test_a_folder_without_the_archive_is_one_line(tmp_path, capsys):
    line = refused(capsys, "chest_xray14", "--data_dir", tmp_path / "d", "--manual_dir", tmp_path)
    assert "found no image of ChestX-ray14" in line


def test_the_table_holds_the_twelve_published_tarballs_and_the_two_lists():
    tarballs = [file for file in downloads.FILES if file.name.endswith(".tar.gz")]
    assert [file.name for file in downloads.FILES[:2]] == ["train_val_list.txt", "test_list.txt"]
    assert [file.name for file in tarballs] == [f"images_{n:03d}.tar.gz" for n in range(1, 13)]
    assert sum(file.size for file in tarballs) == 45_079_862_784
    assert {len(file.md5) for file in downloads.FILES} == {32}
    assert len({file.md5 for file in downloads.FILES} | {file.url for file in downloads.FILES}) == 28


def test_the_sums_of_the_lists_are_those_of_the_real_ones(shared_data):
    for file in downloads.FILES[:2]:
        content = (shared_data / "ChestX-ray14" / file.name).read_bytes()
        assert (len(content), md5(content)) == (file.size, file.md5)


def test_help_is_given_without_tensorflow():
    root = pathlib.Path(__file__).resolve().parent.parent
    code = (
        "import sys; from tfmisr import prepare\n"
        "try: prepare.main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit('tensorflow' in sys.modules or 'tensorflow_datasets' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "--manual_dir" in done.stdout
