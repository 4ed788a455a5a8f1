"""`patient_splits.csv`: a user's own splits of a folder by patient; benchmarks/leave_one_out.py, which writes it."""

import csv
import json

import numpy as np
import pytest

from tfmisr import data
from tfmisr.datasets.image_folder import patients, scan, split_list
from tfmisr.edge import images
from tfmisr.edge.errors import InputError

LISTED = "patient,split\na,test\nb,train\nc,train\n"


@pytest.fixture
def folder(tmp_path):
    """Two images of each of three patients, a sub-folder each."""
    rng = np.random.default_rng(0)
    for name in ("a/1", "a/2", "b/1", "b/2", "c/1", "c/2"):
        path = tmp_path / "scans" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        images.write_image(path, rng.integers(0, 255, (40, 36, 1), np.uint8), 255)
    return tmp_path / "scans"


def listed(folder, text):
    (folder / split_list.FILE).write_text(text, encoding="utf-8")
    return folder


def test_the_list_decides_and_a_split_without_patients_is_missing(folder, tmp_path):
    source = data.load(str(listed(folder, LISTED)), str(tmp_path / "data"))
    assert source.splits == ["train", "test"] and source.counts == {"train": 4, "test": 2}
    with open(source.folder / "sources.csv", newline="", encoding="utf-8") as file:
        rows = [(row["file"][0], row["split"]) for row in csv.DictReader(file)]
    assert set(rows) == {("a", "test"), ("b", "train"), ("c", "train")}


def test_a_list_in_a_folder_of_its_own_splits_the_other_folder(folder, tmp_path):
    """As leave-one-out evaluation does it: the images stay where they are, each fold has a list of its own."""
    (tmp_path / "fold").mkdir()
    fold = listed(tmp_path / "fold", LISTED.replace("b,train", "b,validation"))
    source = data.load(str(fold), str(tmp_path / "data"), [str(folder)])
    assert source.counts == {"train": 2, "validation": 2, "test": 2}


def test_another_list_is_another_dataset_and_none_leaves_the_fingerprint_as_it_was(folder, tmp_path):
    def fingerprint():
        return data.builder(str(folder), str(tmp_path / "data")).fingerprint()

    before = fingerprint()
    assert before == scan.fingerprint(scan.files([folder]), "", "one full scale for a series")
    first = [fingerprint() for _ in range(2) if listed(folder, LISTED)]
    listed(folder, LISTED.replace("b,train", "b,test"))
    assert first[0] == first[1] and len({before, first[0], fingerprint()}) == 3


def test_a_volume_folder_has_the_same_list(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        values = np.random.default_rng(0).integers(1, 999, (36, 40, 3)).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(values, np.diag([1.0, 1.0, 5.0, 1.0])), tmp_path / name / "v.nii")
    before = data.builder(str(tmp_path), str(tmp_path / "data")).fingerprint()
    listed(tmp_path, "patient,split\na,train\nb,validation\n")
    source = data.load(str(tmp_path), str(tmp_path / "data"))
    assert source.counts == {"train": 3, "validation": 3} and source.prepared != before


@pytest.mark.parametrize(
    "text, words",
    [
        ("name,split\na,test\n", r"expected the columns patient,split\. Received: \['name', 'split'\]"),
        ("", "expected the columns"),
        ("patient,split\na,testing\n", "line 2: expected a patient and one of train, validation, test"),
        ("patient,split\na\n", "line 2: expected a patient and one of"),
        ("patient,split\na,test,train\n", "line 2: expected a patient and one of"),
        ("patient,split\na,test\na,train\n", "line 3: this patient has another split above"),
    ],
)
def test_a_wrong_list_is_named_with_its_line(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        split_list.read([listed(tmp_path, text)])


def test_every_patient_needs_a_row_and_none_is_named():
    with pytest.raises(InputError, match="each of the 2 patients of the folder; 1 have none") as error:
        split_list.splits(["id:Doe", "folder:b"], {"b": "test", "other": "train"})
    assert "Doe" not in str(error.value)


def test_a_row_names_a_patient_by_every_rule(tmp_path):
    keys = patients.keys([], None) + ["id:7", "folder:x", "file:scan/a:1.png", "pattern:P1"]
    split_of = split_list.read(
        [listed(tmp_path, "patient,split\n7,train\nx,test\nscan/a:1.png,train\nP1,validation\n")]
    )
    assert list(split_list.splits(keys, split_of).values()) == ["train", "test", "train", "validation"]


@pytest.fixture
def benchmark(monkeypatch):
    import pathlib

    monkeypatch.syspath_prepend(str(pathlib.Path(__file__).resolve().parent.parent / "benchmarks"))
    import leave_one_out

    return leave_one_out


def content(count=1, **psnr):
    models = {name: {"psnr": value, "ssim": 0.9, "n": count} for name, value in psnr.items()}
    return {"models": models, "protocol": {"hash": "abc"}}


def test_table_of_leave_one_out_by_hand(benchmark):
    """Gains 3 and 1 over bicubic: mean 2; above both rivals for the first patient only; the third is apart."""
    contents = {
        "patient-01": content(2, bicubic=30.0, optimal_linear=32.0, network=33.0),
        "patient-02": content(bicubic=40.0, optimal_linear=42.0, network=41.0),
        "patient-03": content(bicubic=10.0, optimal_linear=10.0, network=90.0),
    }
    lines = benchmark.table(contents, 1, ["psnr", "ssim", "psnr_center"]).splitlines()
    assert lines[0].startswith("| patient | slices | model | over bicubic [dB] | PSNR [dB] | SSIM | PSNR center [dB] |")
    assert "| 01 | 2 | network | +3.00 | 33.00 | 0.9000 | - | `abc` |" in lines
    assert "| 03 | 1 | network | +80.00 | 90.00 | 0.9000 | - | `abc` |" in lines
    assert "| network | +2.00 (+1.00 to +3.00) | 37.00 | 0.9000 | - | 1 of 2 patients |" in lines
    assert "| optimal_linear | +2.00 (+2.00 to +2.00) | 37.00 | 0.9000 | - | - |" in lines


def test_a_patient_without_a_wanted_measure_or_model_is_scored_again(benchmark, tmp_path):
    assert not benchmark.is_scored(tmp_path, ["psnr"], ["network"])
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "metrics.json").write_text(json.dumps(content(network=30.0)))
    assert benchmark.is_scored(tmp_path, ["psnr", "ssim"], ["network"])
    assert not benchmark.is_scored(tmp_path, ["psnr", "psnr_lung"], ["network"])
    assert not benchmark.is_scored(tmp_path, ["psnr"], ["network", "network_int8"])


def test_another_recipe_needs_another_output(benchmark, tmp_path):
    benchmark._same_recipe(tmp_path, {"fit": ["--steps", "1"]})
    benchmark._same_recipe(tmp_path, {"fit": ["--steps", "1"]})
    with pytest.raises(InputError, match="results of another recipe"):
        benchmark._same_recipe(tmp_path, {"fit": ["--steps", "2"]})


def test_each_patient_is_held_out_once_and_those_apart_train_nothing(benchmark, folder, tmp_path, monkeypatch):
    seen = []
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(benchmark, "train", lambda fold, folders, split_of, *rest: seen.append((fold.name, split_of)))
    flags = ["--data", str(folder), "--output", str(tmp_path / "out"), "--apart", "b"]
    arguments = benchmark._parser().parse_args(flags)
    benchmark.folds(arguments, [])
    assert seen == [
        ("patient-01", {"a": "test", "c": "train", "b": "validation"}),
        ("patient-02", {"a": "train", "c": "test", "b": "validation"}),
        ("patient-03", {"a": "train", "c": "train", "b": "test"}),
    ]
    arguments.apart = ["b", "c"]
    with pytest.raises(InputError, match="at least two patients"):
        benchmark.folds(arguments, [])


@pytest.mark.large
def test_leave_one_out_trains_scores_and_resumes(benchmark, folder, tmp_path, capsys):
    flags = ["--data", str(folder), "--output", str(tmp_path / "out"), "--scale", "2", "--beside", "--int8"]
    flags += ["--model", "espcn", "--steps", "2", "--patch_size", "8", "--save_every", "2", "--validate_every", "2"]
    assert benchmark.main(flags) == 0
    printed = capsys.readouterr().out
    rows = [line.split(" | ")[:3] for line in printed.splitlines() if line.startswith("| 0")]
    models = ["network", "network_int8", "bicubic", "lanczos", "optimal_linear"]
    assert rows == [[f"| {number}", "2", model] for number in ("01", "02", "03") for model in models]
    trained = sorted((tmp_path / "out").glob("patient-*/*/model.keras"))
    before = [path.stat().st_mtime_ns for path in trained]
    assert benchmark.main(flags) == 0 and len(before) == 3
    assert [path.stat().st_mtime_ns for path in trained] == before
    assert printed.endswith(capsys.readouterr().out)
