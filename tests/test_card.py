"""The model card inside a .tflite file: it survives, it is checked, and a broken file is a message."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from tiny_network import tiny_network, write_tflite

from tfmisr import card as card_command
from tfmisr.edge import card
from tfmisr.edge.errors import InputError
from tfmisr.export import convert

RUNTIME = {"scale": 2, "channels": 1, "tile": 32, "overlap": 6, "skip": "bicubic", "shuffle": 1}
RUNTIME |= {"gating_thresholds": None, "fine_scale": 1, "consistency": None}
CONSISTENCY = {"operator": "bicubic", "iterations": 3, "dead_zone": 0.25, "noise": 0.0, "taps": [1.2, -0.1]}
KERNELS = {"vertical": [0.5, 0.5], "horizontal": [0.5, 0.5], "border": "nearest", "exponent": 0.0}


@pytest.fixture(scope="module")
def converted():
    """A file as the converter writes it."""
    return convert.to_tflite(convert.exported_subgraph(tiny_network(), "float32"), "float32", 32)


@pytest.fixture(scope="module")
def content(converted):
    return card.attach(converted, RUNTIME | {"name": "tiny", "modality": "Röntgen"})


def test_card_survives_copying_one_file(tmp_path, content):
    (tmp_path / "a.tflite").write_bytes(content)
    shutil.copy(tmp_path / "a.tflite", tmp_path / "b.tflite")
    found = card.read(tmp_path / "b.tflite")
    assert (found["name"], found["modality"], found["scale"]) == ("tiny", "Röntgen", 2)


def test_converters_file_stays_whole_and_aligned(converted, content):
    at = content.find(converted)
    assert at > 0
    assert at % 16 == 0


def test_tensorflows_own_reader_finds_the_card_and_all_that_was_there(converted, content):
    from tensorflow.lite.python import schema_py_generated as schema

    old, new = (schema.ModelT.InitFromObj(schema.Model.GetRootAs(c, 0)) for c in (converted, content))
    assert [m.name for m in new.metadata] == [*(m.name for m in old.metadata), card.NAME]
    assert json.loads(bytes(new.buffers[new.metadata[-1].buffer].data))["name"] == "tiny"
    assert len(new.buffers) == len(old.buffers) + 1
    for a, b in zip(old.buffers, new.buffers, strict=False):
        np.testing.assert_array_equal(np.asarray(a.data), np.asarray(b.data))
    assert (new.version, new.description) == (old.version, old.description)
    assert len(new.subgraphs[0].operators) == len(old.subgraphs[0].operators)


def test_same_weights_have_the_same_hash_under_every_card(converted):
    texts = [card.check(card.attach(converted, RUNTIME | {"note": "x" * n}), "f") for n in (0, 1000)]
    assert texts[0]["weights_sha256"] == texts[1]["weights_sha256"]


def test_file_without_a_card_is_refused(converted):
    with pytest.raises(InputError, match="has no model card; make it with python -m tfmisr.export"):
        card.check(converted, "model.tflite")


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_one_changed_bit_of_the_weights_is_refused(converted, content, part):
    broken = bytearray(content)
    broken[content.find(converted) + int(part * len(converted))] ^= 1
    with pytest.raises(InputError, match="do not belong together|broken"):
        card.check(bytes(broken), "model.tflite")


def test_card_of_another_network_is_refused(content):
    other = convert.to_tflite(convert.exported_subgraph(tiny_network(seed=1), "float32"), "float32", 32)
    foreign = card.attach(other, RUNTIME)
    mixed = foreign[: foreign.rfind(b"{\n")] + content[content.rfind(b"{\n") :]
    length = len(content) - content.rfind(b"{\n")
    at = foreign.rfind(b"{\n") - 4
    mixed = mixed[:at] + length.to_bytes(4, "little") + mixed[at + 4 :]
    with pytest.raises(InputError, match="do not belong together"):
        card.check(mixed, "model.tflite")


def test_card_beside_must_be_of_the_same_weights(tmp_path, content):
    (tmp_path / "m.tflite").write_bytes(content)
    assert card.sidecar_path(tmp_path / "m.tflite").name == "m.card.json"
    (tmp_path / "m.card.json").write_text(json.dumps({"weights_sha256": "0" * 64}))
    with pytest.raises(InputError, match="m.card.json belongs to another file"):
        card.read(tmp_path / "m.tflite")
    (tmp_path / "m.card.json").write_text(json.dumps(card.check(content, "x")))
    assert card.read(tmp_path / "m.tflite")["name"] == "tiny"


@pytest.mark.parametrize(
    "field,value",
    [("scale", 5), ("channels", 2), ("tile", 0), ("overlap", -1), ("skip", "zoh"), ("shuffle", "4")]
    + [("gating_thresholds", [2, 1]), ("fine_scale", 0)]
    + [("max_tile", 0), ("max_tile", 10**9), ("max_tile", "448")]
    + [("scale", 2.0), ("channels", True), ("tile", 10**9), ("shuffle", 10**9)]
    + [
        ("consistency", CONSISTENCY | change)
        for change in (
            {"operator": "lanczos"},
            {"operator": KERNELS | {"border": "wrap"}},
            {"operator": KERNELS | {"vertical": [1]}},
            {"iterations": 0},
            {"iterations": 10**9},
            {"dead_zone": -1},
            {"noise": "none"},
            {"taps": []},
        )
    ],
)
def test_card_that_the_runtime_cannot_follow_is_refused(converted, field, value):
    with pytest.raises(InputError, match=f"model card with {field}="):
        card.check(card.attach(converted, RUNTIME | {field: value}), "m.tflite")


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("old", [True, False])
def test_fields_are_read_under_their_earlier_names_too(converted, version, old):
    # T-51: versions 1 and 2 are read, and what programs find under an earlier name is there.
    names = {new: earlier if old else new for new, earlier in card.NAMES.items()}
    named = {names.get(key, key): value for key, value in RUNTIME.items()} | {names["flavor"]: "int8"}
    named |= {names["fine_scale"]: 8, "card_version": version}
    read = card.check(card.attach(converted, named), "m.tflite")
    assert (read["flavor"], read["fine_scale"]) == (read["flavour"], read["magnified"]) == ("int8", 8)
    with pytest.raises(InputError, match="model card with fine_scale=0"):
        card.check(card.attach(converted, named | {names["fine_scale"]: 0}), "m.tflite")


def test_card_of_versions_one_and_two_has_no_consistency(converted):
    # T-01: old cards run unchanged.
    for version in (1, 2):
        earlier = {key: value for key, value in RUNTIME.items() if key != "consistency"} | {"card_version": version}
        assert card.check(card.attach(converted, earlier), "m.tflite")["consistency"] is None


@pytest.mark.parametrize("operator", ["bicubic", KERNELS])
def test_card_with_consistency_is_read(converted, operator):
    fields = CONSISTENCY | {"operator": operator}
    assert card.check(card.attach(converted, RUNTIME | {"consistency": fields}), "m.tflite")["consistency"] == fields


def test_replaced_card_keeps_every_byte_before_it_and_the_hash_of_the_weights(content):
    start, _ = card._locate(content, "m.tflite")
    old = card.check(content, "m.tflite")
    new = card.replace(content, {**old, "name": "renamed", "card_version": 2})
    read = card.check(new, "m.tflite")
    assert new[: start - 4] == content[: start - 4] and read["weights_sha256"] == old["weights_sha256"]
    assert (read["name"], read["card_version"]) == ("renamed", 3)
    written = json.loads(new[start:])
    assert "fine_scale" in written and not set(written) & set(card.NAMES.values())


def test_card_of_a_later_version_is_refused(converted):
    with pytest.raises(InputError, match="card of version 99, this tfmisr reads 3"):
        card.check(card.attach(converted, RUNTIME | {"card_version": 99}), "m.tflite")


def test_card_of_the_first_version_is_read_without_what_came_later(converted):
    lacking = ("fine_scale", "consistency")
    first = {key: value for key, value in RUNTIME.items() if key not in lacking} | {"card_version": 1}
    assert card.check(card.attach(converted, first), "m.tflite")["fine_scale"] == 1


def test_card_without_a_bound_of_windows_has_none(converted):
    assert card.check(card.attach(converted, RUNTIME), "m.tflite")["max_tile"] is None


def test_card_nested_without_end_is_refused(content):
    start, _ = card._locate(content, "m.tflite")
    text = b"[" * 100_000
    with pytest.raises(InputError, match="broken model card"):
        card.check(content[: start - 4] + len(text).to_bytes(4, "little") + text, "m.tflite")


@pytest.mark.parametrize("broken", [b"", b"TFL3", b"\x89PNG\r\n\x1a\n" * 9, b"\xff" * 4 + b"TFL3" + b"\xff" * 400])
def test_what_is_no_tflite_file_is_refused(tmp_path, broken):
    (tmp_path / "m.tflite").write_bytes(broken)
    with pytest.raises(InputError, match=r"is not a \.tflite|is a broken \.tflite"):
        card.read(tmp_path / "m.tflite")


def test_broken_files_give_messages_and_nothing_else(content):
    rng = np.random.default_rng(0)
    for cut in rng.integers(8, len(content), 100):
        with pytest.raises(InputError):
            card.check(content[:cut], "m.tflite")
    for _ in range(500):
        broken = bytearray(content)
        for at in rng.integers(0, 200, 3):
            broken[at] = rng.integers(256)
        if bytes(broken) != content:
            with pytest.raises(InputError):
                card.check(bytes(broken), "m.tflite")


def test_card_is_read_without_tensorflow_and_litert(tmp_path):
    write_tflite(tmp_path / "m.tflite", tiny_network())
    code = (
        "import sys; from tfmisr.edge import card; print(card.read(sys.argv[1])['flavour']); "
        "sys.exit(any(m in sys.modules for m in ('tensorflow', 'ai_edge_litert', 'flatbuffers')))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "m.tflite"], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "float32"), done.stderr


def test_card_is_printed_in_markdown(capsys):
    # T-51
    assert card_command.main(["fast-x4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "# fast-x4" and "## Agreement with the input" in lines and "## Limits" in lines
    assert "| scale | 4 |" in lines and "| flavor | int8 |" in lines and "| card_version | 3 |" in lines
    assert any("bicubic, 3 iterations, dead zone 0.25 levels" in line for line in lines)
    row = next(line for line in lines if line.startswith("| bicubic |"))
    assert row.count("|") == next(line for line in lines if line.startswith("|  | n |")).count("|")


def test_printed_card_of_an_earlier_version_has_todays_names(tmp_path, converted, capsys):
    old = RUNTIME | {"card_version": 2, "flavour": "int8", "name": "a|b\nc", "licence": "CC0"}
    del old["consistency"]
    (tmp_path / "m.tflite").write_bytes(card.attach(converted, old | {"limits": ["one", "two"]}))
    card_command.main([str(tmp_path / "m.tflite")])
    text = capsys.readouterr().out
    assert "| card_version | 2 |" in text and "| license | CC0 |" in text and "flavour" not in text
    assert "Results are not corrected to agree with the input." in text and "- one\n- two" in text
    with pytest.raises(InputError, match="expected a .tflite file, found none"):
        card_command.main([str(tmp_path / "none.tflite")])
