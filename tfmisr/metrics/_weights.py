"""Published weights of the networks of LPIPS, FID and KID: read from a folder, downloaded to it if missing."""

import dataclasses
import hashlib
import os
import pathlib

from tfmisr.edge.errors import InputError


@dataclasses.dataclass(frozen=True)
class _File:
    url: str
    sha256: str  # or its first digits, which torchvision puts into the file's name


_TORCHVISION = "https://download.pytorch.org/models/"
_LPIPS = "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/"
_FIDELITY = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
PUBLISHED = {
    "alexnet-owt-7be5be79.pth": _File(f"{_TORCHVISION}alexnet-owt-7be5be79.pth", "7be5be79"),
    "vgg16-397923af.pth": _File(f"{_TORCHVISION}vgg16-397923af.pth", "397923af"),
    "lpips-v0.1-alex.pth": _File(
        f"{_LPIPS}alex.pth", "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"
    ),
    "lpips-v0.1-vgg.pth": _File(f"{_LPIPS}vgg.pth", "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868"),
    "weights-inception-2015-12-05-6726825d.pth": _File(
        f"{_FIDELITY}weights-inception-2015-12-05-6726825d.pth", "6726825d"
    ),
}


def folder_of(folder: str | os.PathLike | None = None) -> pathlib.Path:
    """Returns the folder of weights: the given one, or `~/.cache/tfmisr/weights`."""
    return pathlib.Path(folder or "~/.cache/tfmisr/weights").expanduser()


def find(name: str, folder: str | os.PathLike | None = None) -> pathlib.Path:
    """Returns the path of published weights, downloaded if missing; their SHA-256 sum is checked each time.

    Args:
        name: One of `PUBLISHED`.
        folder: Folder of the files; see `folder_of`.

    Raises:
        InputError: They cannot be downloaded, or the file has another SHA-256 sum.
    """
    from tfmisr.data import download

    published, path = PUBLISHED[name], folder_of(folder) / name
    if not path.is_file():
        try:
            download.download(published.url, path)
        except InputError as error:
            raise InputError(
                f"{name} could not be downloaded; download {published.url} elsewhere, put it at {path} "
                f"or into the folder of --weights_dir, or leave out the metric ({str(error).partition(';')[0]})"
            ) from error
    digest = sha256_of(path)
    if not digest.startswith(published.sha256):
        raise InputError(
            f"{path} must have the published SHA-256 sum {published.sha256}. Received: "
            f"{digest[: len(published.sha256)]}; delete it to have it downloaded"
        )
    return path


def sha256_of(path: str | os.PathLike) -> str:
    """Returns the SHA-256 sum of a file, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _sum(file)


def _sum(file) -> str:
    digest = hashlib.sha256()  # Python 3.10 has no file_digest
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()
