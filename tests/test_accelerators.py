"""Files for accelerators (issue 17): the same pixels without what an NPU lacks; what cannot run is refused."""

import importlib
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from synthetic import ArraySource, smooth_images
from tiny_network import picture, samples, tiny_network

from tfmisr import models
from tfmisr.edge import card, runtime, shipped
from tfmisr.edge.errors import InputError
from tfmisr.export import __main__ as export
from tfmisr.export import arguments, cards, convert, pixel_shuffle, retarget, targets
from tfmisr.inference import upscalers
from tfmisr.quantization import tflite_schema

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def benchmark():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        return importlib.import_module("accelerators")
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture
def vela(benchmark):
    try:
        return benchmark.find()
    except InputError as error:
        pytest.skip(str(error))


def converted(network, flavor="int8", tile=32):
    """Returns the file of a network as the converter writes it, and its card."""
    subgraph = convert.exported_subgraph(network, flavor)
    channels = network.input_shape[-1]
    content = convert.to_tflite(subgraph, flavor, tile, lambda: samples(channels))
    radius = upscalers.receptive_radius(subgraph.network)
    return content, cards.describe("tiny", flavor, subgraph, models.scale_of(network), tile, radius, {})


def written(path, content, fields):
    path.write_bytes(card.attach(content, fields))
    return path


@pytest.mark.parametrize(
    "name,scale,channels,sizes",
    [
        ("plain", 3, 3, {"num_layers": 2}),  # dual-range output
        ("sesr", 2, 1, {"num_layers": 1}),  # clipped behind DEPTH_TO_SPACE
    ],
)
def test_file_without_pixel_shuffle_returns_the_same_pixels(tmp_path, name, scale, channels, sizes):
    content, fields = converted(tiny_network(name, scale, channels, **sizes))
    assert "DEPTH_TO_SPACE" in convert.operations_of(content)
    new, described = retarget.retargeted(content, fields, "ethos-u55")
    assert "DEPTH_TO_SPACE" not in convert.operations_of(new)
    assert (described["shuffle"], described["target"]) == (scale, "ethos-u55")
    first, second = written(tmp_path / "a.tflite", content, fields), written(tmp_path / "b.tflite", new, described)
    lr = picture(50, 45, channels)
    np.testing.assert_array_equal(runtime.Model(first)(lr), runtime.Model(second)(lr))


def test_channels_of_the_last_convolution_are_coarse_ones_then_fine_ones():
    # By hand: at a scale of 2 its channels are (coarse, fine) at the four sub-pixel positions.
    content, fields = converted(tiny_network("plain", num_layers=2))
    new, scale = pixel_shuffle.without_pixel_shuffle(content, fields["fine_scale"])
    assert scale == 2

    def last_convolution(file):
        model = tflite_schema.parse(file)
        graph = model.subgraphs[0]
        (last, *_) = [o for o in graph.operators if tflite_schema.operator_name(model, o) == "CONV_2D"][::-1]
        kernel, bias = (graph.tensors[number] for number in last.inputs[1:])
        values = [np.asarray(model.buffers[t.buffer].data, np.uint8).reshape(8, -1) for t in (kernel, bias)]
        return [*values, kernel.quantization.scale, bias.quantization.scale]

    for old, rewritten in zip(last_convolution(content), last_convolution(new), strict=True):
        np.testing.assert_array_equal(rewritten, old[[0, 2, 4, 6, 1, 3, 5, 7]])


def test_shipped_file_is_converted_without_its_network(tmp_path):
    assert export.main(["fast-x2", "--target", "edgetpu", "--tile", "64", "48", "--output", str(tmp_path)]) == 0
    names = [f"fast-x2_int8_edgetpu{size}" for size in ("", "_48")]
    assert {p.name for p in tmp_path.iterdir()} == {f"{n}{s}" for n in names for s in (".tflite", ".card.json")}
    path = tmp_path / f"{names[0]}.tflite"
    assert convert.operations_of(path.read_bytes()) == {"CONV_2D": 7}
    fields, old = card.read(path), card.read(shipped.path("fast-x2"))
    assert [fields[k] for k in ("tile", "max_tile", "shuffle", "target")] == [64, None, 2, "edgetpu"]
    changed = {"tile", "max_tile", "shuffle", "target", "output", "weights_sha256", "card_version", "uncertainty"}
    assert {key for key in fields if fields[key] != old.get(key)} <= changed
    assert json.loads((tmp_path / f"{names[0]}.card.json").read_text())["target"] == "edgetpu"
    lr = picture(150, 130)
    expected = runtime.Model(shipped.path("fast-x2"))(lr)
    model = runtime.Model(path)
    assert list(model._input["shape"]) == [1, 64, 64, 1]
    np.testing.assert_array_equal(model(lr), expected)


def test_converted_file_leaves_the_head_of_its_source():
    # The head for uncertainties is bound to the other file by its hash.
    old = card.read(shipped.path("fast-x2")) | {"uncertainty": {"head": {"weights_sha256": "0" * 64}}}
    assert "uncertainty" not in retarget._fields(old, 64, None)


def test_other_pixels_than_those_of_the_source_are_never_written(tmp_path, monkeypatch):
    monkeypatch.setattr(pixel_shuffle, "_halves_last", lambda *_: None)  # the channels in the wrong order
    with pytest.raises(InputError, match="returns other pixels than .*fast-x2.tflite; it was not written"):
        export.main(["fast-x2", "--target", "ethos-u55", "--tile", "32", "--output", str(tmp_path)])
    assert not list(tmp_path.iterdir())


def test_network_with_a_pixel_shuffle_within_is_refused():
    content, fields = converted(tiny_network("srresnet", num_blocks=1))
    with pytest.raises(InputError, match="Arm Ethos-U85 has no DEPTH_TO_SPACE, which this network needs"):
        retarget.retargeted(content, fields, "ethos-u85")
    with pytest.raises(InputError, match="needs a network of limited receptive field"):
        retarget.retargeted(content, {**fields, "tile": None}, "edgetpu")


def test_what_an_accelerator_does_not_run_is_refused():
    network = tiny_network("plain", num_layers=1)
    sized, _ = pixel_shuffle.without_pixel_shuffle(
        convert.to_tflite(convert.exported_subgraph(network, "float32"), "float32", 32), 1
    )
    with pytest.raises(InputError, match=r"Arm Ethos-U55 takes integers of 8 bits. Received: .* FLOAT32"):
        targets.check(sized, "ethos-u55")
    content, fields = converted(network, tile=None)
    content, _ = pixel_shuffle.without_pixel_shuffle(content, fields["fine_scale"])
    with pytest.raises(InputError, match=r"Edge TPU needs fixed sizes; give --tile N"):
        targets.check(content, "edgetpu")
    model = tflite_schema.parse(content)
    for tensor in model.subgraphs[0].tensors:
        if tensor.shapeSignature is not None:
            tensor.shape, tensor.shapeSignature = np.array([2, 32, 32, tensor.shape[-1]], np.int32), None
    batch = tflite_schema.serialized(model)
    with pytest.raises(InputError, match=r"three dimensions above 1. Received: .* INT8 \[2, 32, 32, 1\]"):
        targets.check(batch, "edgetpu")
    targets.check(batch, "ethos-u55")


@pytest.mark.parametrize(
    "model,flags,message",
    [
        (
            ".",
            ("--target", "edgetpu", "--formats", "float16"),
            "--target edgetpu runs int8 alone. Received: --formats fl",
        ),
        (".", ("--target", "ethos-u55", "--tile", "any"), "--target ethos-u55 needs one size of windows, --tile N"),
        (
            ".",
            ("--target", "ethos-u55", "--max_tile", "64"),
            "needs one size of windows, --tile N. Received: --max_tile",
        ),
        ("fast-x2", ("--target", "generic"), "expected a run's folder or a .keras file. Received: fast-x2"),
        ("none.tflite", ("--target", "edgetpu"), "expected a .tflite file, found none at none.tflite"),
        ("perceptual-x4", ("--target", "edgetpu"), "takes an int8 file. Received: perceptual-x4, float16"),
        ("fast-x2", ("--target", "edgetpu", "--tile", "16"), None),
        ("best-x2", ("--target", "edgetpu", "--tile", "32"), "tile must be above 34, twice the overlap. Received: 32"),
    ],
)
def test_mistakes_are_reported_before_anything_is_written(tmp_path, model, flags, message):
    output = tmp_path / "out"
    if message is None:  # twice the overlap of 7 is below 16
        assert export.main([model, *flags, "--output", str(output)]) == 0
        return
    with pytest.raises(InputError, match=message):
        export.main([model, *flags, "--output", str(output)])
    assert not output.exists() or not list(output.iterdir())


def test_file_for_an_accelerator_is_not_converted_again(tmp_path):
    export.main(["fast-x2", "--target", "ethos-u55", "--tile", "32", "--output", str(tmp_path)])
    with pytest.raises(InputError, match=r"is for an accelerator already \(ethos-u55\)"):
        export.main([str(tmp_path / "fast-x2_int8_ethos-u55.tflite"), "--target", "edgetpu", "--output", str(tmp_path)])


def test_conversion_of_a_file_needs_no_tensorflow(tmp_path):
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('tensorflow', 'keras', 'jax')));"
        "from tfmisr.export.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "fast-x2", "--target", "ethos-u65", "--tile", "32", "--output", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_flags_list_the_targets():
    assert arguments.TARGETS == targets.NAMES


# Lines of Vela 5.2 on fast-x2.tflite, and columns of its summary.
OUTPUT = """
Warning (supported operators) operator: DEPTH_TO_SPACE, ofm: 'Identity'
Reason: Unsupported opType

CPU operators = 1 (12.5%)
NPU operators = 7 (87.5%)
"""
ROW = {"system_config": "Ethos_U55_High_End_Embedded", "memory_mode": "Shared_Sram", "inference_time": "0.199781668"}
ROW |= {"sram_memory_used": "8250.390625", "dram_memory_used": "0.0", "on_chip_flash_memory_used": "0.0"}
ROW |= {"off_chip_flash_memory_used": "145.65625", "cycles_total": "99890834"}


def test_table_has_what_vela_reports(benchmark):
    result = benchmark._parsed(OUTPUT, ROW)
    assert (result.npu, result.cpu, result.fallbacks, result.cycles) == (7, 1, ("DEPTH_TO_SPACE",), 99890834)
    assert result.memory == {"sram": 8250.390625, "off_chip_flash": 145.65625}
    line = benchmark.table([(shipped.path("fast-x2"), "ethos-u55-128", result)]).splitlines()[2]
    # By hand: (256 - 2 * 7)^2 * 2^2 = 234,256 pixels in 199.8 ms.
    expected = "| 7 of 8 (87.5 %) | DEPTH_TO_SPACE | 99.9 | 199.8 | 1173 | sram 8250, off chip flash 146 |"
    assert line.endswith(expected)


def test_missing_compiler_is_named(benchmark):
    with pytest.raises(InputError, match="expected Arm's compiler, found no no-vela. Run: pip install ethos-u-vela"):
        benchmark.main(["fast-x2", "--vela", "no-vela"])


@pytest.fixture
def run(tmp_path, monkeypatch):
    images = {"train": smooth_images(12, 64, 0), "validation": smooth_images(4, 64, 1), "test": smooth_images(2, 64, 2)}
    source = ArraySource(tmp_path, images)
    monkeypatch.setattr("tfmisr.data.sources.load", lambda *_: source)
    folder = tmp_path / "tiny"
    folder.mkdir()
    tiny_network("plain", num_layers=3).save(folder / "model.keras")
    (folder / "config.json").write_text(json.dumps({"dataset": "chest_phantom", "model": "plain", "scale": 2}))
    return folder


@pytest.mark.large
def test_exported_network_is_placed_on_the_npu_and_returns_the_pixels_of_the_generic_file(
    run, tmp_path, benchmark, vela
):
    flags = ["--formats", "int8", "--tile", "24", "--images", "1", "--rounds", "1", "--calibration_images", "4"]
    flags += ["--max_psnr_drop", "5", "--max_ssim_drop", "1", "--output", str(tmp_path / "out")]
    assert export.main([str(run), *flags]) == 0
    assert export.main([str(run), *flags, "--target", "ethos-u55"]) == 0
    generic, targeted = (tmp_path / "out" / f"tiny_int8{target}.tflite" for target in ("", "_ethos-u55"))
    lr = picture(60, 70)
    np.testing.assert_array_equal(runtime.Model(generic)(lr), runtime.Model(targeted)(lr))
    assert card.read(targeted)["against_keras"] == card.read(generic)["against_keras"]
    assert benchmark.compiled(generic, "ethos-u55-128", vela).fallbacks == ("DEPTH_TO_SPACE",)
    for configuration in benchmark.CONFIGURATIONS:
        result = benchmark.compiled(targeted, configuration, vela)
        assert (result.cpu, result.fallbacks) == (0, ()) and result.npu > 0


@pytest.mark.large
def test_shipped_models_are_placed_on_the_npu(tmp_path, benchmark, vela, capsys):
    names = [name for name in shipped.names() if card.read(shipped.path(name))["flavor"] == "int8"]
    for name in names:
        export.main([name, "--target", "ethos-u55", "--tile", "64", "--output", str(tmp_path)])
    files = sorted(map(str, tmp_path.glob("*.tflite")))
    assert len(files) == len(names) == 11
    assert benchmark.main([*files, "--vela", vela, "--require_placed", "--configurations", "ethos-u55-128"]) == 0
    assert capsys.readouterr().out.count("(100.0 %) | none |") == 11
    assert benchmark.main(["fast-x2", "--vela", vela, "--require_placed", "--configurations", "ethos-u55-128"]) == 1


@pytest.mark.large
def test_operators_of_ethos_u_are_those_of_velas_report(tmp_path, vela):
    subprocess.run([vela, "--supported-ops-report"], cwd=tmp_path, check=True, capture_output=True)
    report = (tmp_path / "SUPPORTED_OPS.md").read_text()
    for title, names in {"U55 and Ethos-U65": ("ethos-u55", "ethos-u65"), "U85": ("ethos-u85",)}.items():
        section = report.partition(f"## Ethos-{title} TFLite Summary Table")[2].partition("\n## ")[0]
        listed = {line.split()[1] for line in section.splitlines() if line.startswith("| ")}
        assert all(targets.TARGETS[name].operators <= listed for name in names)
