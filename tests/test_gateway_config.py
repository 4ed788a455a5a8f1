"""The configuration of the gateway: mistakes are found before anything starts, with their line (G-19)."""

import datetime
import subprocess

import gateway_helpers
import pydicom
import pytest
from gateway_helpers import TLS, certificate, configuration, free_port

from tfmisr.edge.errors import InputError
from tfmisr.gateway import backoff, checking, conformance, queue, rules, services, tls, validation
from tfmisr.gateway.__main__ import main
from tfmisr.gateway.schema import Arrival

VALID = """\
[node]
ae_title = "NODE"
port = 11112
spool = "spool"

[[sources]]
ae_title = "CT1"
address = "10.0.0.5"

[[destinations]]
name = "archive"
ae_title = "PACS"
address = "10.0.0.9"
port = 104

[[rules]]
calling_ae = ["CT1"]
modality = ["CT", "MR"]
body_part = ["CHEST"]
sop_class = ["CTImageStorage"]
image_type = ["ORIGINAL", "PRIMARY"]
send = "original and result"
model = "fast-x2"
destinations = ["archive"]

[[rules]]
send = "original only"
destinations = ["archive"]
"""


def read(tmp_path, text: str):
    path = tmp_path / "gateway.toml"
    path.write_text(text, encoding="utf-8")
    return validation.read(path)


@pytest.mark.parametrize(
    "old,new,line,message",
    [
        ("port = 11112", "port = 11112 x", 3, "not a TOML file"),
        ("port = 11112", 'port = "11112"', 3, "expected a whole number for port. Received: '11112'"),
        ("port = 11112", "port = 70000", 3, "expected a port up to 65535. Received: 70000"),
        ("port = 11112", "port = true", 3, "expected a whole number"),
        ("port = 11112\n", "", 1, "expected the key port in node, found none"),
        ("spool =", "spoll =", 4, "unknown key spoll in node; did you mean spool?"),
        ('"NODE"', '"A TITLE OF 17 CHA"', 2, "AE title of 1 to 16 ASCII characters"),
        ('"NODE"', '" NODE"', 2, "AE title"),
        ('"10.0.0.5"', '"scanner"', 8, "expected an IP address. Received: scanner"),
        ("port = 104", "port = 0", 14, "expected port of at least 1. Received: 0"),
        (
            '"PACS"\naddress = "10.0.0.9"\nport = 104',
            '"NODE"\naddress = "localhost"\nport = 11112',
            13,
            "is this node itself",
        ),
        ("port = 104", "port = 104\nattempts = 0", 15, "expected attempts of at least 1. Received: 0"),
        ("port = 104", "port = 104\ntls = true", 15, "needs a table [tls]"),
        ('calling_ae = ["CT1"]', 'calling_ae = ["CT2"]', 17, "CT2 is not among the sources; did you mean CT1?"),
        ('"CTImageStorage"', '"CTImage"', 20, "expected a storage SOP Class"),
        ('"CTImageStorage"', '"Verification"', 20, "expected a storage SOP Class"),
        ('"original and result"', '"result"', 22, "expected original only or original and result. Received: result"),
        ('"fast-x2"', '"fast-x9"', 23, "Received: fast-x9; did you mean"),
        ('"fast-x2"', '"bicubic"', 23, "bicubic needs a scale from 2 to 16. Received: 0"),
        ('"fast-x2"', '"fast-x2"\nscale = 3', 23, "fast-x2 upscales by 2. Received: scale = 3"),
        ('destinations = ["archive"]\n\n', 'destinations = ["archiv"]\n\n', 24, "unknown destination archiv; did you"),
        ('destinations = ["archive"]\n\n', "destinations = []\n\n", 24, "expected at least one destination"),
        ('send = "original only"', 'send = "original only"\nmodel = "fast-x2"', 28, "has no model"),
        ("[[rules]]\nsend", "[[rule]]\nsend", 26, "unknown table rule; did you mean rules?"),
        ("[[sources]]", "[sources]", 6, "expected at least one [[sources]]"),
    ],
)
def test_g19_a_mistake_is_named_with_its_line(tmp_path, old, new, line, message):
    assert VALID.count(old) >= 1
    with pytest.raises(InputError) as error:
        read(tmp_path, VALID.replace(old, new, 1))
    assert f"line {line}" in str(error.value)
    assert message in str(error.value)


def test_g19_every_float_must_be_finite(tmp_path):
    with pytest.raises(InputError, match=r"line 5: expected keep_hours of at least 0\. Received: nan"):
        read(tmp_path, VALID.replace('spool = "spool"', 'spool = "spool"\nkeep_hours = nan'))


def test_g19_check_prints_what_would_happen(tmp_path, capsys):
    settings = read(tmp_path, VALID.replace('"CT1"\naddress', '"CT1"\n# a comment\naddress'))
    assert main(["check", str(settings.path)]) == 0
    out = capsys.readouterr().out
    assert "NODE listens on 127.0.0.1 port 11112, no TLS, at most 10 associations" in out
    assert "accepts CT1 from 10.0.0.5" in out
    assert "sends to archive: PACS at 10.0.0.9 port 104" in out
    assert (
        "rule 1: if calling AE is CT1 and Modality is CT or MR and Body Part Examined is CHEST and SOP Class is "
        "1.2.840.10008.5.1.4.1.1.2 and Image Type has ORIGINAL and PRIMARY: the original, then the result of fast-x2 "
        "to archive"
    ) in out
    assert "rule 2: if no rule before applies: the original to archive" in out
    assert "warning" not in out
    assert "0124" not in out


def test_g19_check_warns_of_what_is_never_used(tmp_path):
    text = VALID.partition("\n[[rules]]\nsend")[0]
    second = '[[destinations]]\nname = "two"\nae_title = "TWO"\naddress = "x"\nport = 1\n'
    lines = checking.report(read(tmp_path, text + second))
    assert "any other object is refused with status 0124" in lines
    assert "warning: no rule sends to two" in lines


def header(**values) -> pydicom.Dataset:
    ds = pydicom.Dataset()
    for keyword, value in {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CT", **values}.items():
        setattr(ds, keyword, value)
    return ds


def test_g19_check_warns_of_rules_that_never_apply_and_of_deliveries_for_nobody(tmp_path):
    """A destination was renamed while objects waited for it: they are not lost, and somebody must know."""
    settings = read(tmp_path, VALID + '[[rules]]\nsend = "original only"\ndestinations = ["archive"]\n')
    assert "warning: rule 3 never applies: rule 2 has no conditions" in checking.report(settings)
    settings.node.spool.mkdir()
    entries = queue.Queue(settings.node.spool / "queue.db")
    entries.add(Arrival("1.2", "1.3", "1.4", "aa", 1, "objects/1.dcm", "CT1", "", 0, ("archive", "old"), (), ""))
    assert [line for line in checking.report(settings) if "wait for" in line] == [
        "warning: 1 deliveries wait for old, which is no destination: they stay until it is one again"
    ]
    entries.close()


def test_rules_match_in_order_and_all_conditions_hold(tmp_path):
    settings = read(tmp_path, VALID)
    first, second = settings.rules
    matching = {"BodyPartExamined": "CHEST", "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}
    assert rules.select(settings, header(**matching), "CT1") is first
    assert rules.select(settings, header(**matching, Modality="MR"), "CT1") is first
    assert rules.select(settings, header(**matching), "CT9") is second
    for change in ({"Modality": "CR"}, {"BodyPartExamined": ""}, {"ImageType": "ORIGINAL"}, {"ImageType": None}):
        assert rules.select(settings, header(**{**matching, **change}), "CT1") is second
    assert rules.destinations(settings, first, "CT1") == (("archive",), ("archive",))
    assert rules.destinations(settings, first, "PACS") == ((), ("archive",))
    assert rules.destinations(settings, second, "PACS") == ((), ())


@pytest.mark.parametrize(
    "code,expected",
    [(0x0000, "sent"), (0xB000, "sent"), (0xB006, "sent"), (0xB007, "sent"), (0xA700, "retry"), (0xA7FF, "retry")]
    + [(code, "refused") for code in (0xA900, 0xC000, 0xCFFF, 0x0122, 0x0124, 0x0110, 0xB001, 0xFE00)],
)
def test_g05_outcome_of_a_status(code, expected):
    assert services.outcome(code) == expected


def test_g12_backoff_doubles_to_a_cap_with_jitter(monkeypatch):
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    delays = [backoff.delay(n, 5, 60) for n in (1, 2, 3, 4, 5, 500)]
    assert delays == pytest.approx([6, 12, 24, 48, 72, 72])  # 1.2 times 5, 10, 20, 40, 60, 60


def test_g22_the_statement_lists_what_the_node_answers_and_accepts():
    text = conformance.statement()
    for status in services.STATUSES:
        assert len(status.comment) <= 64
        assert f"| {status.code:04X} |" in text
    for sop_class in ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.1.1"):
        assert f"| {sop_class} |" in text
    for syntax in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.90"):
        assert f"| {syntax} |" in text
    for rejection in services.REJECTIONS:
        assert f"| {rejection.result} | {rejection.source} | {rejection.reason} |" in text
    for section in (
        "## 1 ",
        "## 3 ",
        "## 4 ",
        "### 4.1 ",
        "### 4.2 ",
        "### 4.3 ",
        "### 4.4 ",
        "## 5 ",
        "## 6 ",
        "## 7 ",
    ):
        assert section in text


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    certificate(folder, "authority", 400)
    certificate(folder, "node", 300, "authority")
    certificate(folder, "modality", 300, "authority")
    certificate(folder, "stranger", 300)
    certificate(folder, "old", 0, "authority")
    return folder


def test_g19_expiry_of_a_certificate(certificates):
    program = gateway_helpers.shutil.which("openssl")
    for name in ("node", "old"):
        path = certificates / f"{name}.crt"
        shown = subprocess.run([program, "x509", "-enddate", "-noout", "-in", path], capture_output=True, text=True)
        expected = datetime.datetime.strptime(shown.stdout.strip(), "notAfter=%b %d %H:%M:%S %Y GMT")
        assert tls.expiry(path) == expected.replace(tzinfo=datetime.timezone.utc)


@pytest.mark.parametrize(
    "names,key,message",
    [
        (("old", "old", "authority"), "certificate", "the certificate expired on"),
        (("node", "modality", "authority"), "key", "expected PEM files"),
        (("none", "node", "authority"), "certificate", "expected a certificate at"),
        (("node", "node", "none"), "ca", "expected a certificate at"),
    ],
)
def test_g19_certificates_that_cannot_serve(tmp_path, certificates, names, key, message):
    text = VALID + TLS.format(certificates, *names)
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path, text)
    number = text.splitlines().index(next(line for line in text.splitlines() if line.startswith(key + " ="))) + 1
    assert f"line {number}: " in str(error.value)


@pytest.mark.large
def test_g10_tls_with_certificates_of_both_sides(tmp_path, certificates):
    """A plain caller and one without a certificate of the authority store nothing; the good one does."""
    storescu = gateway_helpers.dcmtk("storescu")
    port = free_port()  # of a second node, to which the first sends with TLS
    (tmp_path / "second").mkdir()
    path = gateway_helpers.image(tmp_path, 1)
    archive = gateway_helpers.Archive()
    second = configuration({"archive": archive.port}, more='[[sources]]\nae_title = "NODE"')
    second = second.replace("port = 0", f"port = {port}", 1) + TLS.format(certificates, "node", "node", "authority")
    second = second.replace('ae_title = "NODE"\nport', 'ae_title = "NEXT"\nport')
    first = configuration({"next": port}, destination="tls = true") + TLS.format(
        certificates, "node", "node", "authority"
    )
    with gateway_helpers.running(tmp_path / "second", second), gateway_helpers.running(tmp_path, first) as node:
        address = ["-aet", "MODALITY", "-aec", "NODE", "127.0.0.1", str(node.port), str(path)]
        ca = ["+cf", str(certificates / "authority.crt")]
        anonymous = [storescu, "-ta", "5", "-to", "5", "+tla", *ca, *address]
        stranger = ["+tls", str(certificates / "stranger.key"), str(certificates / "stranger.crt")]
        good = ["+tls", str(certificates / "modality.key"), str(certificates / "modality.crt")]
        assert subprocess.run([storescu, "-ta", "3", *address], capture_output=True).returncode
        assert subprocess.run(anonymous, capture_output=True).returncode
        assert subprocess.run([storescu, *stranger, *ca, *address], capture_output=True).returncode
        assert node.rows("SELECT COUNT(*) FROM instances") == [(0,)]
        assert subprocess.run([storescu, *good, *ca, *address], capture_output=True).returncode == 0
        assert archive.wait(1) == [gateway_helpers.uid_of(path)]
    archive.close()
