"""Ed25519 signatures of files (RFC 8032): who released a model, its head for uncertainties or a configuration.

`FILE.sig` beside the file holds the 64 bytes of the signature over all bytes of the file, card included, and nothing
else. So the file keeps its bytes and every digest of it, earlier releases read it as before, nothing of an unverified
file is parsed, files of all kinds are signed alike, and other programs verify them too:

    openssl pkeyutl -verify -pubin -inkey public.pem -rawin -in FILE -sigfile FILE.sig

Keys are PEM files, as `openssl genpkey -algorithm ed25519 -out private.pem` and `openssl pkey -in private.pem -pubout
-out public.pem` write them. A signature shows that the holder of the key released these bytes; it does not show which
of several signed files they are, nor that they are the newest. Needs the package `cryptography`, which is imported when
a function is called.
"""

import os
import pathlib
import typing

from tfmisr.edge.errors import InputError
from tfmisr.edge.files import atomic_write

if typing.TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ed25519

SUFFIX = ".sig"
_LENGTH = 64  # bytes, RFC 8032, section 5.1.6
_HEAD = ".uncertainty.tflite"  # a head for uncertainties is beside its model


def sidecar_path(path: str | os.PathLike) -> pathlib.Path:
    """Returns the path of a file's signature: `FILE.sig`."""
    path = pathlib.Path(path)
    return path.with_name(path.name + SUFFIX)


def signed_files(path: str | os.PathLike) -> list[pathlib.Path]:
    """Returns the file and, where there is one, the head for uncertainties beside a `.tflite` model."""
    path = pathlib.Path(path)
    head = path.with_name(path.name.removesuffix(".tflite") + _HEAD)
    beside = path.name.endswith(".tflite") and not path.name.endswith(_HEAD) and head.is_file()
    return [path, head] if beside else [path]


def require(path: str | os.PathLike, key: str | os.PathLike) -> None:
    """Refuses a model that the holder of a key has not signed, or whose head for uncertainties is not signed.

    Args:
        path: The `.tflite` file.
        key: PEM file of the public key.

    Raises:
        InputError: No such file, no signature, one of another key or of other bytes, or no valid key.
    """
    for file in signed_files(path):
        verify(file, key)


def verify(path: str | os.PathLike, key: str | os.PathLike) -> None:
    """Verifies the signature of one file of any kind; see `require`."""
    from_key = _public_key(key)  # before the file: its mistakes are the same for all files
    _verify(pathlib.Path(path), from_key, key)


def _verify(path: pathlib.Path, key: "ed25519.Ed25519PublicKey", name: str | os.PathLike) -> None:
    from cryptography.exceptions import InvalidSignature

    content, signature = _content(path), _signature(path)
    try:
        key.verify(signature, content)
    except InvalidSignature as error:
        raise InputError(
            f"{path} was changed, or signed with another key than {os.fspath(name)}; take the released file again"
        ) from error


def sign(path: str | os.PathLike, key: str | os.PathLike) -> pathlib.Path:
    """Writes the signature of a file, and returns its path.

    Args:
        path: The file.
        key: PEM file of the private key, which only its owner may read (as for OpenSSH). The passphrase of an
            encrypted one is asked for.

    Raises:
        InputError: No such file, or no valid key.
    """
    path, private = pathlib.Path(path), _private_key(key)
    signature = private.sign(_content(path))
    target = sidecar_path(path)
    with atomic_write(target) as temporary:
        temporary.write_bytes(signature)
    _verify(path, private.public_key(), key)
    return target


def _content(path: pathlib.Path) -> bytes:
    if not path.is_file():
        raise InputError(f"expected a file, found none at {path}")
    return path.read_bytes()


def _signature(path: pathlib.Path) -> bytes:
    target = sidecar_path(path)
    if not target.is_file():
        raise InputError(f"{path} is not signed: found no {target.name} beside it")
    signature = target.read_bytes()
    if len(signature) != _LENGTH:
        raise InputError(f"{target} is not a signature: expected {_LENGTH} bytes. Received: {len(signature)}")
    return signature


def _pem(key: str | os.PathLike) -> bytes:
    path = pathlib.Path(key).expanduser()
    if not path.is_file():
        raise InputError(f"expected a key, a PEM file, found none at {path}")
    return path.read_bytes()


def _public_key(key: str | os.PathLike) -> "ed25519.Ed25519PublicKey":
    serialization, ed25519 = _library()
    pem = _pem(key)
    if b"PRIVATE KEY" in pem:
        raise InputError(f"{os.fspath(key)} is a private key; give the public one (openssl pkey -in KEY -pubout)")
    try:
        loaded = serialization.load_pem_public_key(pem)
    except _invalid() as error:
        raise InputError(f"{os.fspath(key)} is not a public key in PEM format") from error
    if not isinstance(loaded, ed25519.Ed25519PublicKey):
        raise InputError(f"{os.fspath(key)} must be an Ed25519 key. Received: another kind")
    return loaded


def _private_key(key: str | os.PathLike) -> "ed25519.Ed25519PrivateKey":
    serialization, ed25519 = _library()
    pem = _pem(key)
    if b"PRIVATE KEY" not in pem:
        raise InputError(f"{os.fspath(key)} is not a private key in PEM format")
    _require_private(key)
    password = _passphrase(key) if b"ENCRYPTED" in pem else None
    try:
        loaded = serialization.load_pem_private_key(pem, password)
    except _invalid() as error:
        reason = "its passphrase is wrong, or it is damaged" if password else "not a private key in PEM format"
        raise InputError(f"{os.fspath(key)} cannot be used: {reason}") from error
    if not isinstance(loaded, ed25519.Ed25519PrivateKey):
        raise InputError(f"{os.fspath(key)} must be an Ed25519 key. Received: another kind")
    return loaded


def _require_private(key: str | os.PathLike) -> None:
    """Refuses a key of this user that others may read, as OpenSSH does (sshkey_perm_ok)."""
    status = pathlib.Path(key).expanduser().stat()
    if os.name == "posix" and status.st_uid == os.getuid() and status.st_mode & 0o077:
        raise InputError(
            f"{os.fspath(key)} can be read by others (mode {status.st_mode & 0o777:04o}); make another key, or, if "
            "nobody has read this one: chmod 600"
        )


def _passphrase(key: str | os.PathLike) -> bytes:
    import getpass

    return getpass.getpass(f"Passphrase of {os.fspath(key)}: ").encode()


def _library() -> tuple[typing.Any, typing.Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ModuleNotFoundError as error:
        raise InputError(f"signatures need the package {error.name}. Run: pip install 'tfmisr[sign]'") from error
    return serialization, ed25519


def _invalid() -> tuple[type[Exception], ...]:
    from cryptography.exceptions import UnsupportedAlgorithm

    return ValueError, TypeError, UnsupportedAlgorithm
