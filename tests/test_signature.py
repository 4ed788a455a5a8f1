"""Signatures of files (issue 17): what was changed, is unsigned or signed by another is refused; OpenSSL agrees."""

import os
import pathlib
import shutil
import stat
import subprocess
import sys

import numpy as np
import pytest

from tfmisr import card as card_command
from tfmisr import upscale
from tfmisr.edge import card, images, shipped, signature
from tfmisr.edge.errors import InputError

pytest.importorskip("cryptography", reason="needs the extra [sign]")

OPENSSL = shutil.which("openssl")
# RFC 8032, section 7.1, TEST 2: private key, public key, message of one byte, signature.
RFC8032 = (
    "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    "72",
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
)


def write_keys(folder, seed, name="key", passphrase=None):
    """Writes the PEM files of a key pair; returns their paths."""
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric import ed25519

    private = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
    encryption = s.BestAvailableEncryption(passphrase) if passphrase else s.NoEncryption()
    paths = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    paths[0].write_bytes(private.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, encryption))
    paths[0].chmod(0o600)
    paths[1].write_bytes(private.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo))
    return paths


@pytest.fixture
def keys(tmp_path):
    return write_keys(tmp_path, bytes.fromhex(RFC8032[0]))


@pytest.fixture
def model(tmp_path):
    return pathlib.Path(shutil.copy(shipped.path("fast-x2"), tmp_path / "m.tflite"))


def test_signature_is_that_of_rfc_8032(tmp_path, keys):
    file = tmp_path / "gateway.toml"
    file.write_bytes(bytes.fromhex(RFC8032[2]))
    assert signature.sign(file, keys[0]) == tmp_path / "gateway.toml.sig"
    assert (tmp_path / "gateway.toml.sig").read_bytes().hex() == RFC8032[3]
    signature.verify(file, keys[1])


def test_signed_model_keeps_its_bytes_and_is_accepted(model, keys, capsys):
    before = model.read_bytes()
    assert card_command.main(["sign", str(model), "--key", str(keys[0])]) == 0
    assert model.read_bytes() == before == shipped.path("fast-x2").read_bytes()
    assert card.read(model)["weights_sha256"] == card.read(shipped.path("fast-x2"))["weights_sha256"]
    signature.require(model, keys[1])
    assert card_command.main(["verify", str(model), "--key", str(keys[1])]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{model}: signed with this key"


@pytest.mark.parametrize("place", ["body", "card", "end", "signature"])
def test_one_changed_bit_is_refused(model, keys, place):
    content = bytearray(model.read_bytes())
    start, end = card._locate(bytes(content), "m.tflite")
    signature.sign(model, keys[0])
    if place == "signature":
        file, content, at = signature.sidecar_path(model), bytearray(signature.sidecar_path(model).read_bytes()), 10
    else:
        file, at = model, {"body": start // 2, "card": start + 20, "end": end - 1}[place]
    content[at] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"m.tflite was changed, or signed with another key than .*key.pub.pem"):
        signature.require(model, keys[1])


def test_other_card_on_the_same_weights_is_refused(model, keys):
    # weights_sha256 does not cover the card: its scale, limits and consistency change what users get.
    signature.sign(model, keys[0])
    content = model.read_bytes()
    model.write_bytes(card.replace(content, card.read(model) | {"consistency": None}))
    assert card.read(model)["consistency"] is None
    with pytest.raises(InputError, match="was changed"):
        signature.require(model, keys[1])


def test_unsigned_file_and_signature_of_another_key_are_refused(tmp_path, model, keys):
    with pytest.raises(InputError, match="m.tflite is not signed: found no m.tflite.sig beside it"):
        signature.require(model, keys[1])
    other = write_keys(tmp_path, b"\x01" * 32, "other")
    signature.sign(model, other[0])
    with pytest.raises(InputError, match="signed with another key than .*key.pub.pem"):
        signature.require(model, keys[1])
    (tmp_path / "m.tflite.sig").write_bytes(b"")
    with pytest.raises(InputError, match="is not a signature: expected 64 bytes. Received: 0"):
        signature.require(model, keys[1])
    with pytest.raises(InputError, match="expected a file, found none at bicubic"):
        signature.require("bicubic", keys[1])


def test_head_for_uncertainties_must_be_signed_too(tmp_path, model, keys, capsys):
    signature.sign(model, keys[0])
    head = tmp_path / "m.uncertainty.tflite"
    head.write_bytes(b"head")
    with pytest.raises(InputError, match="m.uncertainty.tflite is not signed"):
        signature.require(model, keys[1])
    card_command.main(["sign", str(model), "--key", str(keys[0])])
    assert capsys.readouterr().out.count(": signed, ") == 2
    signature.require(model, keys[1])
    head.write_bytes(b"other")
    with pytest.raises(InputError, match="m.uncertainty.tflite was changed"):
        signature.require(model, keys[1])
    assert signature.signed_files(head) == [head]


@pytest.mark.skipif(OPENSSL is None, reason="needs openssl")
def test_keys_and_signatures_are_those_of_openssl(tmp_path, model):
    private, public, made = tmp_path / "private.pem", tmp_path / "public.pem", tmp_path / "m.tflite.sig"

    def openssl(*arguments):
        subprocess.run([OPENSSL, *map(str, arguments)], check=True, capture_output=True)

    openssl("genpkey", "-algorithm", "ed25519", "-out", private)
    openssl("pkey", "-in", private, "-pubout", "-out", public)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    signature.sign(model, private)
    openssl("pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-in", model, "-sigfile", made)
    made.unlink()
    openssl("pkeyutl", "-sign", "-inkey", private, "-rawin", "-in", model, "-out", made)
    signature.require(model, public)


@pytest.mark.skipif(os.name != "posix", reason="file modes")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_private_key_that_others_may_read_is_refused(model, keys, mode):
    keys[0].chmod(mode)
    with pytest.raises(InputError, match=f"key.pem can be read by others .mode {mode:04o}.; make another key, or, if"):
        signature.sign(model, keys[0])
    assert not signature.sidecar_path(model).exists()


def test_encrypted_key_asks_for_its_passphrase(tmp_path, model, monkeypatch):
    keys = write_keys(tmp_path, b"\x02" * 32, passphrase=b"secret")
    answers = iter(["wrong", "secret"])
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(answers))
    with pytest.raises(InputError, match="key.pem cannot be used: its passphrase is wrong, or it is damaged"):
        signature.sign(model, keys[0])
    signature.sign(model, keys[0])
    signature.require(model, keys[1])


def test_wrong_kinds_of_keys_are_named(tmp_path, model, keys):
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric import ec

    curve = ec.generate_private_key(ec.SECP256R1())
    private, public, text = (tmp_path / name for name in ("ec.pem", "ec.pub.pem", "text.pem"))
    private.write_bytes(curve.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()))
    private.chmod(0o600)
    public.write_bytes(curve.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo))
    text.write_text("no key")
    signature.sign(model, keys[0])
    cases = [
        (signature.require, keys[0], "key.pem is a private key; give the public one"),
        (signature.require, public, "ec.pub.pem must be an Ed25519 key"),
        (signature.require, text, "text.pem is not a public key in PEM format"),
        (signature.require, tmp_path / "none", "expected a key, a PEM file, found none"),
        (signature.sign, keys[1], "key.pub.pem is not a private key in PEM format"),
        (signature.sign, private, "ec.pem must be an Ed25519 key"),
    ]
    for function, key, message in cases:
        with pytest.raises(InputError, match=message):
            function(model, key)


def test_upscale_refuses_what_is_not_signed(tmp_path, model, keys, capsys):
    images.write_image(tmp_path / "in.png", np.zeros((40, 40, 1), np.uint8), 255)
    name = tmp_path / "net.tflite"
    shutil.copy(shipped.path("fast-x2"), name)
    flags = ["--model", str(name), "--force", "--require_signature", str(keys[1]), str(tmp_path / "in.png"), "--output"]
    with pytest.raises(InputError, match="net.tflite is not signed"):
        upscale.main([*flags, str(tmp_path / "out.png")])
    assert not (tmp_path / "out.png").exists()
    signature.sign(name, keys[0])
    assert upscale.main([*flags, str(tmp_path / "out.png")]) == 0
    name.write_bytes(name.read_bytes() + b" ")
    with pytest.raises(InputError, match="was changed"):
        upscale.main([*flags, str(tmp_path / "other.png")])
    with pytest.raises(InputError, match="needs a .tflite file as --model. Received: bicubic"):
        upscale.main(["--model", "bicubic", *flags[3:], str(tmp_path / "other.png")])


def test_missing_library_is_named_and_not_imported_before(tmp_path, model, keys):
    code = (
        "import sys; from tfmisr import card; assert 'cryptography' not in sys.modules\n"
        "sys.modules['cryptography'] = None\n"
        "from tfmisr import cli; cli.run(lambda: card.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "verify", str(model), "--key", str(keys[1])]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.strip().endswith("Run: pip install 'tfmisr[sign]'") and len(done.stderr.splitlines()) == 1


def test_card_without_a_sub_command_is_shown(capsys):
    assert card_command.main(["fast-x4"]) == 0
    first = capsys.readouterr().out
    assert card_command.main(["show", "fast-x4"]) == 0
    assert capsys.readouterr().out == first
