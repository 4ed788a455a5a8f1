"""`python -m tfmisr.calibrate`: the files it writes, what it refuses, and a folder of the user's own scans (T-12)."""

import base64
import json
import subprocess
import sys

import numpy as np
import pytest
from dicom_sources import dx, smooth
from synthetic import ArraySource, smooth_images

from tfmisr import calibrate, data
from tfmisr.calibration import patients, scope
from tfmisr.edge import card, half_width, shipped, uncertainty
from tfmisr.edge.applicability import Applicability
from tfmisr.edge.errors import InputError


@pytest.fixture(scope="module")
def content():
    """A model that is not calibrated."""
    content = shipped.path("fast-x2").read_bytes()
    return card.replace(content, {**card.check(content, "fast-x2"), "uncertainty": None})


@pytest.fixture
def model(tmp_path, content, monkeypatch):
    """A model, and a head whose scale follows the values of the image."""
    path = tmp_path / "net.tflite"
    path.write_bytes(content)
    uncertainty.beside(path).write_bytes(b"head")

    class Head:
        def __init__(self, path, threads=1):
            assert path.read_bytes() == b"head"
            self.card = {"weights_sha256": "b" * 64, "model_sha256": card.read(model_path)["weights_sha256"]}

        def scale_map(self, lr, sr, max_val=1.0):
            return (0.01 + 0.05 * sr / max_val).astype(np.float32)

    model_path = path
    monkeypatch.setattr(uncertainty, "Head", Head)
    return path


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Twelve validation patients, and thirty for the factors of edges and letters."""
    images = {"train": smooth_images(30, 64, 0), "validation": smooth_images(12, 64, 1)}
    made = ArraySource(tmp_path, images)
    monkeypatch.setattr(data, "load_for", lambda *args: made)
    return made


def run(model, *flags):
    return calibrate.run(calibrate._parser().parse_args([str(model), *map(str, flags)]))


def test_new_file_has_the_same_weights_another_card_and_the_head_beside_it_t12(model, source, tmp_path):
    before = model.read_bytes()
    done = run(model, "--output", tmp_path / "out" / "mine.tflite")  # the folder is made
    old, new = card.read(model), card.read(tmp_path / "out" / "mine.tflite")
    assert model.read_bytes() == before
    assert new["weights_sha256"] == old["weights_sha256"] and old["uncertainty"] is None
    assert (tmp_path / "out" / "mine.uncertainty.tflite").read_bytes() == b"head"
    assert list(new["uncertainty"]["levels"]) == ["0.05", "0.1", "0.32"]
    multipliers = [level["multiplier"] for level in new["uncertainty"]["levels"].values()]
    assert sorted(multipliers, reverse=True) == multipliers
    assert new["uncertainty"]["calibration"]["patients"] == 12 and new["uncertainty"]["groups"] is None
    assert {key: old[key] for key in old if key != "uncertainty"} == {k: new[k] for k in new if k != "uncertainty"}
    text = str(done)
    assert "| 90% |" in text and "12 patients" in text and "mine.tflite" in text and "training patients" in text
    width = half_width.HalfWidth.of(tmp_path / "out" / "mine.tflite", new, 0.32)
    assert width.multiplier == multipliers[2]


def test_applicability_is_of_the_archive_that_was_calibrated_t33(model, tmp_path, monkeypatch):
    images = {"validation": smooth_images(99, 64, 1)}
    monkeypatch.setattr(data, "load_for", lambda *args: ArraySource(tmp_path, images))
    (tmp_path / "use.json").write_text('{"Modality": ["CT"], "BitsStored": [12]}')
    done = run(model, "--output", tmp_path / "mine.tflite", "--declared", tmp_path / "use.json")
    old, new = card.read(model)["applicability"], card.read(tmp_path / "mine.tflite")["applicability"]
    assert new["declared"] == {"Modality": ["CT"], "BitsStored": [12]} and new["statistics"] != old["statistics"]
    assert len(base64.b64decode(new["scores"])) == 2 * 99  # float16
    assert "images unlike these 99 patients' are out of scope from now on" in str(done)
    assert "--declared" not in str(done)
    checked = Applicability.of(card.read(tmp_path / "mine.tflite"))
    lr = images["validation"][5][::2, ::2]
    assert checked.check(lr, np.repeat(np.repeat(lr, 2, 0), 2, 1), 255).outcome != "not tested"


def test_too_few_patients_leave_applicability_as_it_was_t33(model, source, tmp_path):
    done = run(model, "--output", tmp_path / "mine.tflite")
    assert card.read(tmp_path / "mine.tflite")["applicability"] == card.read(model)["applicability"]
    assert "stays as the card had it" in str(done) and "at least 99 patients" in str(done)
    # Images of another kind stay refused, also those that were just calibrated on.
    assert "Modality CR, DX; BodyPartExamined CHEST, THORAX, LUNG" in str(done) and "--declared" in str(done)


def test_declaration_that_is_not_used_is_said_t33():
    assert scope.header_note({"Modality": ["CT"]}, is_given=True, is_used=False).startswith(
        "Note: --declared is not used"
    )
    assert scope.header_note({"Modality": ["CT"]}, is_given=True, is_used=True) == ""
    assert scope.header_note({}, is_given=False, is_used=True) == ""


@pytest.mark.parametrize("text", ["", "[]", '{"Modality": "CT"}', '{"PatientName": ["X"]}', None])
def test_declaration_that_is_none_is_refused_in_one_line(model, source, tmp_path, text):
    if text is not None:
        (tmp_path / "use.json").write_text(text)
    with pytest.raises(InputError, match="use.json"):
        run(model, "--output", tmp_path / "mine.tflite", "--declared", tmp_path / "use.json")
    assert not (tmp_path / "mine.tflite").exists()


def test_acquisition_is_not_declared_of_an_archive_that_was_not_declared():
    card_of_model = card.read(shipped.path("fast-x2"))["applicability"]
    use = scope.declared(None, card_of_model)
    assert use["Modality"] == ["CR", "DX"] and not {"BitsStored", "PixelSpacing"} & use.keys()
    assert scope.declared(None, None) == {}


def test_groups_come_from_other_patients_and_stay_in_the_card_t13(model, source, tmp_path):
    first, second = tmp_path / "first.tflite", tmp_path / "second.tflite"
    run(model, "--group_split", "train", "--output", first)
    fields = card.read(first)["uncertainty"]
    assert fields["groups"]["edges"] and set(fields["levels"]["0.1"]["factors"]) == {"edges", "letters"}
    run(first, "--alpha", "0.075", "--output", second)
    known = [fields["levels"][alpha]["factors"]["edges"] for alpha in ("0.05", "0.1")]
    again = card.read(second)["uncertainty"]
    assert again["groups"] == fields["groups"]
    assert again["levels"]["0.075"]["factors"]["edges"] == pytest.approx(np.mean(known))
    with pytest.raises(InputError, match="other patients than split"):
        run(model, "--group_split", "validation")


def test_training_patients_are_refused_by_number_of_them_t12(model, source, tmp_path):
    listed = {**card.read(model), "uncertainty": {"head": {"weights_sha256": "b" * 64}}}
    listed["uncertainty"]["training_patients"] = patients.record(source, "train", "00")
    model.write_bytes(card.replace(model.read_bytes(), listed))
    with pytest.raises(InputError, match="12 of 12 in arrays, split validation, are among its training patients"):
        run(model, "--output", tmp_path / "out.tflite")
    assert not (tmp_path / "out.tflite").exists()
    listed["uncertainty"]["training_patients"]["numbering"] = "chest_xray14"
    model.write_bytes(card.replace(model.read_bytes(), listed))
    done = run(model, "--output", tmp_path / "out.tflite")
    assert "cannot be compared" in done.notes[0]
    assert card.read(tmp_path / "out.tflite")["uncertainty"]["training_patients"]["salt"] == "00"


@pytest.mark.parametrize(
    "flags,message",
    [
        (["--delta", "0.01"], "needs at least 99 patients. Received: 12 in arrays, split validation: 87 are"),
        (["--confidence", "0.9"], "with confidence 0.9 needs at least 22 patients. Received: 12 .* 10 are missing"),
        (["--max_images", "5"], "Received: 5 .* 4 are missing"),
        (["--alpha", "1.5"], "alpha must be above 0 and below 1"),
        (["--alpha", "0.1", "0.1"], "alpha must have different values"),
        (["--output", "x.png"], "output must be a .tflite file"),
        (["--max_images", "0"], "max_images must be at least 1"),
    ],
)
def test_what_cannot_be_calibrated_is_refused_in_one_line(model, source, tmp_path, flags, message):
    output = [] if "--output" in flags else ["--output", tmp_path / "out.tflite"]
    with pytest.raises(InputError, match=message):
        run(model, *flags, *output)
    assert not (tmp_path / "out.tflite").exists()


def test_output_is_not_the_head_of_a_model(model):
    head = model.with_name(f"{model.stem}.uncertainty.tflite")
    before = head.read_bytes()
    with pytest.raises(InputError, match=r"another name than that of an uncertainty head, NAME\.uncertainty\.tflite"):
        run(model, "--output", head)
    assert head.read_bytes() == before


def test_output_is_not_the_model_itself(model):
    (model.parent / "link.tflite").symlink_to(model)
    for same in (model, model.parent / "link.tflite"):
        with pytest.raises(InputError, match="another file than the model"):
            run(model, "--output", same)


def test_model_without_a_head_is_refused_by_the_command_that_trains_one(model):
    uncertainty.beside(model).unlink()
    with pytest.raises(InputError, match=r"found none; train one with python -m tfmisr.fit --uncertainty"):
        run(model)
    with pytest.raises(InputError, match=r"expected a .tflite file or one of .*python -m tfmisr.export"):
        run("bicubic")


def test_folder_of_own_dicom_scans_is_one_split_t12(model, tmp_path, capsys):
    for number in range(10):
        pixels = smooth(48, 40, 100, 3900 - 100 * number, np.uint16)
        folder = tmp_path / "scans" / str(number)
        folder.mkdir(parents=True)
        dx(pixels, PatientID=f"PATIENT-{number}", SOPInstanceUID=f"1.2.{number}").save_as(
            folder / "a.dcm", enforce_file_format=True
        )
    flags = ["--dataset", tmp_path / "scans", "--data_dir", tmp_path / "data", "--output", tmp_path / "own.tflite"]
    done = run(model, *flags)
    calibration = done.summary["calibration"]
    assert (calibration["patients"], calibration["images"]) == (10, 10)
    assert calibration["split"] == "all"
    assert calibration["dataset"] == "image_folder"
    recorded = json.dumps(card.read(tmp_path / "own.tflite"))
    assert not any(f"PATIENT-{number}" in recorded for number in range(10)) and str(tmp_path) not in recorded
    with pytest.raises(InputError, match="missing"):
        run(model, *flags, "--split", "validation")


def test_base_install_names_the_extra(tmp_path):
    script = (
        "import sys\n"
        "for name in ('tensorflow', 'tensorflow_datasets', 'scipy', 'keras'): sys.modules[name] = None\n"
        "from tfmisr import calibrate, cli\n"
        f"cli.run(lambda: calibrate.main(['fast-x4', '--output', {str(tmp_path / 'x.tflite')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "this command needs TensorFlow" in done.stderr and "pip install 'tfmisr[train]'" in done.stderr


@pytest.mark.parametrize("name", [name for name in shipped.names() if shipped.head(name)])
def test_shipped_cards_list_training_patients_and_three_levels_t12(name):
    fields = card.read(shipped.path(name))
    field = fields["uncertainty"]
    assert list(field["levels"]) == ["0.05", "0.1", "0.32"]
    calibration = field["calibration"]
    assert (calibration["split"], calibration["patients"], calibration["k"]) == ("validation", 57, 53)
    # All of ChestX-ray14's numbers: those that are listed belong to the training split by the rule of the dataset.
    listed = patients.among(field["training_patients"], range(1, 30806))
    assert len(listed) == field["training_patients"]["patients"] == 456
    assert {data.split_of(f"{patient:08d}", {"train": 90, "validation": 10}) for patient in listed} == {"train"}
    assert half_width.HalfWidth.of(shipped.path(name), fields).alpha == 0.1
