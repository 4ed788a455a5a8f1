"""`python -m tfmisr.card sign` and `verify`: Ed25519 signatures of files; see `tfmisr.edge.signature`."""

import argparse
import typing

from tfmisr.edge import signature

_KEYS = (
    "Keys: openssl genpkey -algorithm ed25519 -out private.pem; openssl pkey -in private.pem -pubout -out public.pem"
)


def add_parsers(subparsers: typing.Any) -> None:
    """Adds the sub-commands `sign` and `verify`.

    Args:
        subparsers: What `argparse.ArgumentParser.add_subparsers` returns.
    """
    sign = subparsers.add_parser(
        "sign",
        help="signs files with an Ed25519 key",
        description="Writes FILE.sig, an Ed25519 signature of all bytes of FILE, beside each file and beside a model's "
        f"head for uncertainties. The files themselves do not change. {_KEYS}",
    )
    sign.add_argument("files", nargs="+", metavar="FILE", help=".tflite files, or others such as a configuration")
    sign.add_argument("--key", required=True, metavar="PEM", help="private key, which only its owner may read")
    sign.set_defaults(run=_sign)
    verify = subparsers.add_parser(
        "verify",
        help="verifies the signatures of files",
        description="Verifies FILE.sig beside each file, and that of a model's head for uncertainties. Exit status 2: "
        "a file was changed, was signed with another key, or is not signed.",
    )
    verify.add_argument("files", nargs="+", metavar="FILE", help="the signed files")
    verify.add_argument("--key", required=True, metavar="PEM", help="public key of who has signed them")
    verify.set_defaults(run=_verify)


def _sign(arguments: argparse.Namespace) -> int:
    for name in arguments.files:
        for path in signature.signed_files(name):
            print(f"{path}: signed, {signature.sign(path, arguments.key)}")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    for name in arguments.files:
        for path in signature.signed_files(name):
            signature.verify(path, arguments.key)
            print(f"{path}: signed with this key")
    return 0
