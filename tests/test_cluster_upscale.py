"""`python -m tfmisr.upscale` on a cluster, on manifests and URLs: the same files, exactly once (S-01 to S-06)."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tfmisr import upscale
from tfmisr.cluster import status, stores
from tfmisr.edge import images
from tfmisr.edge.errors import InputError
from tfmisr.inference import archive, cluster_jobs, memory

BICUBIC = ("--model", "bicubic", "--scale", "2")


def run(*arguments):
    return upscale.main([str(a) for a in arguments])


@pytest.fixture(scope="module")
def local():
    """One cluster on this machine for all tests: its address stands for `local:2`."""
    distributed = pytest.importorskip("distributed")
    options = {"threads_per_worker": 1, "memory_limit": 0, "dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(n_workers=2, **options) as started:
        yield started.scheduler_address


def folder(path, count=4, sub=True):
    generator = np.random.default_rng(0)
    for i in range(count):
        below = path / "a" if sub and i % 2 else path
        below.mkdir(parents=True, exist_ok=True)
        bits = 16 if i == 3 else 8
        pixels = generator.integers(0, 1000 if bits == 16 else 256, (24, 20, 1)).astype(f"u{bits // 8}")
        images.write_image(below / f"{i}.png", pixels, 1023 if bits == 16 else 255)
    return path


def results(path):
    """Returns the result files by name, without what a run notes beside them."""
    files = (p for p in path.rglob("*") if p.is_file() and ".tfmisr" not in p.parts and p.name != "upscale.json")
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in files}


def test_s01_same_files_with_and_without_a_cluster(tmp_path, local, capsys):
    folder(tmp_path / "in", 6)
    (tmp_path / "in" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    for output, more in (("plain", ()), ("processes", ("--memory_limit", "1GB")), ("dask", ("--cluster", local))):
        with pytest.raises(InputError, match="1 of 7 images could not be upscaled: .*bad.png"):
            run(*BICUBIC, tmp_path / "in", "--output", tmp_path / output, *more)
        assert capsys.readouterr().out.count("failed: ") == 1
    plain = results(tmp_path / "plain")
    assert len(plain) == 6
    assert results(tmp_path / "processes") == results(tmp_path / "dask") == plain
    assert status.of_folder(str(tmp_path / "dask")).counts == {"done": 6, "failed": 1}


# When a DICOM file was made: different in two runs without a cluster too.
MADE = ("InstanceCreationTime", "InstanceCreationDate", "ContentTime", "ContentDate")


def datasets(path):
    import pydicom

    found = {}
    for name in results(path):
        ds = pydicom.dcmread(path / name)
        for keyword in MADE:
            ds.pop(keyword, None)
        for item in ds.ContributingEquipmentSequence:
            item.pop("ContributionDateTime", None)
        found[name] = ds.to_json()
    return found


def test_s01_series_scales_and_series_dates_of_dicom_and_16_bit_files(tmp_path, local, shared_data):
    pytest.importorskip("pydicom")
    (tmp_path / "in" / "mr").mkdir(parents=True)
    for path in sorted((shared_data / "mr").glob("hanke*"))[:4]:  # unsigned MR: one scale for the series
        os.symlink(path, tmp_path / "in" / "mr" / path.name)
    os.symlink(shared_data / "dicom" / "nema_MR1_UNC.dcm", tmp_path / "in" / "x.dcm")
    run(*BICUBIC, tmp_path / "in", "--output", tmp_path / "plain")
    record = json.loads((tmp_path / "plain" / "upscale.json").read_text(encoding="utf-8"))
    (tmp_path / "dask").mkdir()  # the same start
    (tmp_path / "dask" / "upscale.json").write_text(json.dumps({**record, "scales": {}}), encoding="utf-8")
    run(*BICUBIC, tmp_path / "in", "--output", tmp_path / "dask", "--cluster", local)
    assert json.loads((tmp_path / "dask" / "upscale.json").read_text(encoding="utf-8")) == record
    assert len(record["scales"]) == 2
    found = datasets(tmp_path / "plain")
    assert len(found) == 5 and all("00080021" in text for text in found.values())  # Series Date
    assert datasets(tmp_path / "dask") == found


def test_s01_scale_of_16_bit_files_without_their_own(tmp_path, local):
    from PIL import Image

    (tmp_path / "in").mkdir()
    for name, top in (("dark", 300), ("bright", 3000)):
        pixels = np.linspace(0, top, 400).reshape(20, 20).astype(np.uint16)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{name}.png")
    for output, more in (("plain", ()), ("dask", ("--cluster", local))):
        run(*BICUBIC, tmp_path / "in", "--output", tmp_path / output, *more)
    assert results(tmp_path / "dask") == results(tmp_path / "plain")
    assert images.read_images(tmp_path / "dask" / "dark.png")[0].max_val == 4095  # that of the brighter one


def test_s03_done_is_what_the_same_model_options_and_source_made(tmp_path, capsys):
    folder(tmp_path / "in", 4, sub=False)
    command = (*BICUBIC, tmp_path / "in", "--output", tmp_path / "out", "--timeout", "60")
    run(*command)
    before = results(tmp_path / "out")
    times = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in before}
    sources = [tmp_path / "in" / f"{i}.png" for i in range(4)]
    os.utime(sources[0])  # a new time alone: SHA-256 decides
    sources[1].write_bytes(sources[2].read_bytes())  # another source
    (tmp_path / "out" / "2.png").unlink()  # no result
    (tmp_path / "out" / "3.png").write_bytes(b"cut off")  # another size
    capsys.readouterr()
    run(*command)
    assert "done already: 1 of 4 images" in capsys.readouterr().out
    after = results(tmp_path / "out")
    assert after == {**before, "1.png": before["2.png"]}
    again = {name for name in after if (tmp_path / "out" / name).stat().st_mtime_ns != times[name]}
    assert again == {"1.png", "2.png", "3.png"}
    run(*command)
    assert "done already: 4 of 4 images" in capsys.readouterr().out
    with pytest.raises(InputError, match="holds results of another scale"):
        run("--model", "bicubic", "--scale", 4, *command[4:])


def test_s03_another_option_makes_an_image_again(tmp_path, capsys):
    folder(tmp_path / "in", 2, sub=False)
    manifest = tmp_path / "m.csv"
    for options, expected in (("{}", 0), ('{""tile"": 32}', 1), ('{""tile"": 32}', 2)):
        manifest.write_text(f'source,target,options\nin/0.png,x/0.png,\nin/1.png,1.png,"{options}"\n', encoding="utf-8")
        run(*BICUBIC, manifest, "--output", tmp_path / "out")
        text = capsys.readouterr().out
        assert text.count(" -> ") == 2 - expected
    assert sorted(results(tmp_path / "out")) == ["1.png", "x/0.png"]


def test_s03_two_commands_at_once_give_one_file_each(tmp_path):
    folder(tmp_path / "in", 6)
    command = [
        sys.executable,
        "-m",
        "tfmisr.upscale",
        *BICUBIC,
        str(tmp_path / "in"),
        "--output",
        str(tmp_path / "out"),
    ]
    both = [subprocess.Popen([*command, "--timeout", "60"], stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    run(*BICUBIC, tmp_path / "in", "--output", tmp_path / "plain")
    assert results(tmp_path / "out") == results(tmp_path / "plain")


@pytest.mark.parametrize(
    "pattern,names", [("in/*.png", ["0.png", "2.png"]), ("in/**/*.png", ["0.png", "2.png", "a/1.png", "a/3.png"])]
)
def test_s02_glob(tmp_path, pattern, names):
    folder(tmp_path / "in")
    run(*BICUBIC, tmp_path / pattern, "--output", tmp_path / "out")
    assert sorted(results(tmp_path / "out")) == names


def test_s02_urls_from_end_to_end(tmp_path, capsys):
    pytest.importorskip("fsspec")
    folder(tmp_path / "in")
    (tmp_path / "out").mkdir()
    command = (*BICUBIC, f"local://{tmp_path}/in", "--output", f"local://{tmp_path}/out")  # through fsspec
    run(*command)
    capsys.readouterr()
    run(*command)
    assert "done already: 4 of 4 images" in capsys.readouterr().out
    run(*BICUBIC, f"file://{tmp_path}/in", "--output", tmp_path / "plain")
    assert results(tmp_path / "out") == results(tmp_path / "plain")
    assert sorted(os.listdir(tmp_path / "out" / ".tfmisr")) == ["ledger.parquet", "parts"]
    with contextlib.suppress(SystemExit):
        run("--status", f"local://{tmp_path}/out")
    assert capsys.readouterr().out.splitlines()[-2].startswith("4 images: 4 done")
    with pytest.raises(InputError, match=f"local://{tmp_path}/out holds results of another scale"):
        run("--model", "bicubic", "--scale", 4, *command[4:])


def test_s02_object_store_in_the_process_of_the_test(memory_store):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 1)).astype(np.uint8)
    with stores.published("memory://b/in/1.png") as path:
        images.write_image(path, pixels, 255)
    job = {"upscaler": {"model": "bicubic", "scale": 2}, "weights_sha256": "", "scale": None, "memory_limit": None}
    job |= {"source": "memory://b/in/1.png", "target": "memory://b/out/1.png"}
    found = cluster_jobs.upscale(job)
    assert found["summary"] == "memory://b/in/1.png -> memory://b/out/1.png (40x48)"
    with stores.fetched("memory://b/out/1.png") as path:
        assert images.read_images(path)[0].pixels.shape == (48, 40, 1)
    assert found["size"] == stores.size_and_stamp("memory://b/out/1.png")[0]
    with pytest.raises(InputError, match="memory://b/in/2.png: found no file"):
        cluster_jobs.upscale({**job, "source": "memory://b/in/2.png"})
    with pytest.raises(InputError, match="finds other weights"):
        cluster_jobs.upscale({**job, "weights_sha256": "0" * 64})


@pytest.fixture
def memory_store():
    system = pytest.importorskip("fsspec").filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def test_source_that_changes_while_it_is_read_is_tried_again(tmp_path, monkeypatch):
    folder(tmp_path / "in", 1)
    job = {"upscaler": {"model": "bicubic", "scale": 2}, "weights_sha256": "", "scale": None, "memory_limit": None}
    job |= {"source": str(tmp_path / "in" / "0.png"), "target": str(tmp_path / "out.png")}
    monkeypatch.setattr(memory, "require_fit", lambda *_: os.utime(tmp_path / "in" / "0.png", ns=(1, 1)))
    with pytest.raises(OSError, match="changed while it was read"):
        cluster_jobs.upscale(job)
    assert not (tmp_path / "out.png").exists()


def test_s05_quarantined_image_is_listed_and_tried_by_the_next_start(tmp_path, capsys, monkeypatch):
    folder(tmp_path / "in", 2, sub=False)
    (tmp_path / "in" / "0.png").rename(tmp_path / "in" / "poison.png")
    command = (*BICUBIC, tmp_path / "in", "--output", tmp_path / "out", "--retries", "1")
    with monkeypatch.context() as patched:
        patched.setattr(archive, "_JOBS", "cluster_functions")  # ends its process at this image
        with pytest.raises(InputError, match="1 of 2 images could not be upscaled: .*poison.png"):
            run(*command)
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("failed"))
    assert line.endswith("poison.png: ended its process by SIGKILL, perhaps for lack of memory (tried 2 times)")
    assert sorted(results(tmp_path / "out")) == ["1.png"]
    with pytest.raises(SystemExit) as status_exit:
        run("--status", tmp_path / "out")
    assert status_exit.value.code in (0, None)
    assert capsys.readouterr().out.splitlines()[-1].startswith("quarantined: ")
    run(*command)
    assert "done already: 1 of 2" in capsys.readouterr().out
    assert sorted(results(tmp_path / "out")) == ["1.png", "poison.png"]


def test_s06_image_that_does_not_fit_is_refused_by_name_before_it_is_decoded(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for name, side in (("small", 64), ("large", 3000)):
        images.write_image(tmp_path / "in" / f"{name}.png", np.zeros((side, side, 1), np.uint8), 255)
    header = (tmp_path / "in" / "large.png").read_bytes()[:200]
    (tmp_path / "in" / "large.png").write_bytes(header)  # decoding would fail
    with pytest.raises(InputError, match="1 of 2 images"):
        run(*BICUBIC, tmp_path / "in", "--output", tmp_path / "out", "--memory_limit", "400MB")
    text = capsys.readouterr().out
    assert "large.png: 3000x3000 pixels need about" in text and "more than --memory_limit, 400 MB" in text
    assert sorted(results(tmp_path / "out")) == ["small.png"]


@pytest.mark.skipif(not pathlib.Path("/proc/self/clear_refs").exists(), reason="measures memory on Linux")
@pytest.mark.parametrize("model,side,channels,bits", [("bicubic", 1024, 1, 16), ("fast-x2", 700, 1, 16)])
def test_s06_estimate_is_above_what_an_image_takes_and_not_absurdly_so(tmp_path, model, side, channels, bits):
    pixels = np.random.default_rng(0).integers(0, 2**bits, (side, side, channels)).astype(f"u{bits // 8}")
    images.write_image(tmp_path / "in.png", pixels, 2**bits - 1)
    code = (
        "import sys, pathlib; from tfmisr.edge import images; from tfmisr.inference import memory, batch\n"
        "from tfmisr.cluster.isolation import resident_memory as now\n"
        "up = batch.BatchUpscaler(sys.argv[1], 2, force=True); folder = pathlib.Path(sys.argv[2])\n"
        "source = folder / 'in.png'\n"
        "per_pixel = memory._per_pixel(up); before = now()\n"
        "open('/proc/self/clear_refs', 'w').write('5'); up(source, folder / 'out.png')\n"
        "peak = next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('VmHWM')) * 1024\n"
        "print(peak - before, memory.estimate(images.read_header(source), up, per_pixel))"
    )
    done = subprocess.run([sys.executable, "-c", code, model, str(tmp_path)], capture_output=True, text=True)
    taken, estimate = map(int, done.stdout.split())
    assert taken <= estimate <= 6 * taken


@pytest.mark.parametrize(
    "manifest,message",
    [
        ("source,target\nin/0.png,../0.png\n", "row 1: target must be relative and stay in the output folder"),
        ("source,target\nin/0.png,0.png\nin/1.png,0.png\n", "would both be written to 0.png"),
        ("source\nin/0.png\n", "needs a column target"),
        ("source,target\n", "expected images"),
    ],
)
def test_wrong_manifest_leaves_no_files(tmp_path, manifest, message):
    folder(tmp_path / "in", 2, sub=False)
    (tmp_path / "m.csv").write_text(manifest, encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        run(*BICUBIC, tmp_path / "m.csv", "--output", tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "arguments,message",
    [
        (("in", "--output", "out.png", "--retries", "1"), "needs a folder as --output"),
        (
            ("in", "--output", "out", "--cluster", "slurm:absent"),
            "expected the configuration of dask-jobqueue at absent",
        ),
        (("absent", "--output", "out", "--timeout", "9"), "expected an image or a folder"),
        (("absent*.png", "--output", "out"), "expected images"),
        (("absent.csv", "--output", "out"), "absent.csv cannot be read"),
        (("in", "--output", "in/0.png/out", "--timeout", "9"), "expected a writable folder at"),
    ],
)
def test_wrong_inputs_leave_no_files(tmp_path, monkeypatch, arguments, message):
    folder(tmp_path / "in", 2, sub=False)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        run(*BICUBIC, *arguments)
    assert sorted(tmp_path.rglob("*")) == before


def test_target_that_is_its_source_is_refused(tmp_path, capsys):
    folder(tmp_path / "in", 1)
    before = (tmp_path / "in" / "0.png").read_bytes()
    (tmp_path / "m.csv").write_text("source,target\nin/0.png,0.png\n", encoding="utf-8")
    with pytest.raises(InputError, match="1 of 1 image "):
        run(*BICUBIC, tmp_path / "m.csv", "--output", tmp_path / "in")
    assert "would overwrite the input" in capsys.readouterr().out
    assert (tmp_path / "in" / "0.png").read_bytes() == before


def test_missing_dask_is_named_before_a_folder_is_made(tmp_path, monkeypatch):
    """S-01: nothing is left that another start would have to continue."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    images.write_image(tmp_path / "a.png", np.zeros((8, 8, 1), np.uint8), 255)
    with pytest.raises(InputError, match=r"needs Dask .* pip install 'tfmisr\[cluster\]'"):
        upscale.main(
            ["--model", "bicubic", str(tmp_path / "a.png"), "--output", str(tmp_path / "out"), "--cluster", "local:2"]
        )
    assert not (tmp_path / "out").exists()
