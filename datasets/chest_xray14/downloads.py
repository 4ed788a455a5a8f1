"""Downloads ChestX-ray14 from NIH: 12 tarballs, 45 GB, and the official lists."""

import dataclasses
import os
import pathlib
import urllib.parse
from collections.abc import Sequence

from tfmisr.data import download
from tfmisr.edge.errors import InputError


@dataclasses.dataclass(frozen=True)
class File:
    """A published file: file name, address, size in bytes and MD5 sum."""

    name: str
    url: str
    size: int
    md5: str


_STATIC = "https://nihcc.box.com/shared/static/"
_SHARED = "https://nihcc.app.box.com/index.php?rm=box_download_shared_file&vanity_name=ChestXray-NIHCC&file_id=f_"

# Addresses: NIH's batch_download_zips.py. Sums: NIH's FAQ_CHESTXRAY.pdf, Q07. NIH gives no sums for the
# lists; these are of copies whose sha256 sums others have recorded for the same files of NIH's folder.
FILES = (
    File("train_val_list.txt", f"{_SHARED}256056636701", 1470907, "067e3a84206964892e6300e4a4c0a205"),
    File("test_list.txt", f"{_SHARED}256055473534", 435131, "adeeabf20ea2a8eb66ced87b78434400"),
    *(
        File(f"images_{number:03d}.tar.gz", f"{_STATIC}{address}.gz", size, md5)
        for number, (address, size, md5) in enumerate(
            (
                ("vfk49d74nhbxq3nqjg0900w5nvkorp5c", 2008470987, "fe8ed0a6961412fddcbb3603c11b3698"),
                ("i28rlmbvmfjbl8p2n3ril0pptcmcu9d1", 3952623504, "ab07a2d7cbe6f65ddd97b4ed7bde10bf"),
                ("f1t00wrtdk94satdfb9olcolqx20z2jp", 3929234850, "2301d03bde4c246388bad3876965d574"),
                ("0aowwzs5lhjrceb3qp67ahp0rd1l1etg", 3838903983, "9f1b7f5aae01b13f4bc8e2c44a4b8ef6"),
                ("v5e3goj22zr6h8tzualxfsqlqaygfbsn", 3935496531, "1861f3cd0ef7734df8104f2b0309023b"),
                ("asi7ikud9jwnkrnkj99jnpfkjdes7l6l", 3986301172, "456b53a8b351afd92a35bc41444c58c8"),
                ("jn1b4mw4n6lnh74ovmcjb8y48h8xj07n", 4016328426, "1075121ea20a137b87f290d6a4a5965e"),
                ("tvpxmn7qyrgl0w8wfh9kqfjskv6nmm1j", 4018347353, "b61f34cec3aa69f295fbb593cbd9d443"),
                ("upyy3ml7qdumlgk2rfcvlb9k6gvqq2pj", 4111327929, "442a3caa61ae9b64e61c561294d1e183"),
                ("l6nilvfa9cg3s28tqv1qc1olm3gnz54p", 4181556296, "09ec81c4c31e32858ad8cf965c494b74"),
                ("hhq8fkdgvcari67vfhs7ppg2w6ni4jze", 4187084020, "499aefc67207a5a97692424cf5dbeed5"),
                ("ioqwiy20ihqwyr8pf4c24eazhh281pbu", 2914187733, "dc9fda1757c2de0032b63347a7d2895c"),
            ),
            start=1,
        )
    ),
)


def default_folder(data_dir: str | os.PathLike | None) -> pathlib.Path:
    """Returns the folder of downloads for `data_dir`; `None` is the default of TFDS."""
    root = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return pathlib.Path(root).expanduser() / "downloads" / "chest_xray14"


def fetch(
    folder: pathlib.Path, mirror: str | None = None, reserve: int = 0, files: Sequence[File] | None = None
) -> None:
    """Downloads the files that are missing or damaged in `folder`; an interrupted download is resumed.

    Args:
        folder: Folder of the files. Existing files are checked against their MD5 sums and kept.
        mirror: Address of a folder with the same files under the same names.
        reserve: Bytes that must stay free afterwards.
        files: The files to fetch, `FILES` otherwise.

    Raises:
        InputError: No space, no network, or a file that is not the published one.
    """
    files = FILES if files is None else files
    addresses = {file: _address(file, mirror) for file in files}
    paths = {file: _path(folder, file) for file in files}
    missing = {file: path for file, path in paths.items() if not _intact(path, file)}
    print(f"{len(files) - len(missing)} of {len(files)} files are in {folder} already", flush=True)
    remaining = sum(file.size - download.bytes_kept(path) for file, path in missing.items())
    download.require_free_space(folder, max(0, remaining) + reserve)
    for file, path in missing.items():
        print(f"downloading {file.name} ({file.size / 1e6:,.0f} MB) to {folder}", flush=True)
        download.download(addresses[file], path, file.md5)


def _path(folder, file: File) -> pathlib.Path:
    # NIH's script saves images_01.tar.gz, NIH's list of sums names images_001.tar.gz.
    other = folder / file.name.replace("images_0", "images_")
    return other if other.is_file() else folder / file.name


def _intact(path, file: File) -> bool:
    if not path.is_file():
        return False
    if download.md5_of(path) == file.md5:
        return True
    print(f"{path} does not have the published md5 sum: it is downloaded again", flush=True)
    return False


def _address(file: File, mirror: str | None) -> str:
    if mirror is None:
        return file.url
    if urllib.parse.urlsplit(mirror).scheme not in ("http", "https"):
        raise InputError(f"--mirror must be an http or https address. Received: {mirror}")
    return f"{mirror.rstrip('/')}/{file.name}"
