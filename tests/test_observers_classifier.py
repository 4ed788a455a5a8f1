"""A frozen classifier on the images of every arm (T-44), against scikit-learn, hand calculation and enumeration."""

import itertools
import json
import math
import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import brier_score_loss, roc_auc_score
from synthetic import ArraySource

from tfmisr import data, degradations, observe
from tfmisr.edge.errors import InputError
from tfmisr.inference import upscalers
from tfmisr.observers import classification, classifiers, labels, parts, results, roc

SIDE = 24


def brute_force_delong(absent, present):
    """Variance of an AUC from all pairs (DeLong et al. 1988, with the sums written out)."""
    pairs = [[(p > a) + 0.5 * (p == a) for a in absent] for p in present]
    area = sum(map(sum, pairs)) / len(absent) / len(present)
    of_present = [sum(row) / len(absent) for row in pairs]
    of_absent = [sum(row[j] for row in pairs) / len(present) for j in range(len(absent))]
    s10 = sum((v - area) ** 2 for v in of_present) / (len(present) - 1)
    s01 = sum((v - area) ** 2 for v in of_absent) / (len(absent) - 1)
    return area, s10 / len(present) + s01 / len(absent)


def scores(count=60, seed=0):
    """Three arms that see two labels; the second is known for half of the images; two images of each patient."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((count, 2)) < 0.4).astype(float)
    noise = rng.standard_normal((3, count, 2))
    p = 1 / (1 + np.exp(-(1.5 * truth - 0.7 + noise[:1] + 0.5 * noise)))
    truth[::2, 1] = np.nan
    return classification.Scores(["HR", "bicubic", "net"], np.round(p, 2), truth, np.arange(count) // 2)


def test_auc_delong_brier_and_flips_of_each_label():
    """T-44: AUC of scikit-learn, DeLong's interval by brute force, the rest from its definition."""
    given = scores()
    found, left_out = classification.assess(given, ["a", "b"], margin=0.02, threshold=0.6)
    assert list(found) == ["a", "b"] and left_out == {}
    for label, name in enumerate(found):
        known = ~np.isnan(given.truth[:, label])
        truth, p = given.truth[known, label], given.probabilities[:, known, label]
        assert (found[name]["positive"], found[name]["images"]) == (truth.sum(), known.sum())
        for arm, own in zip(given.arms, p, strict=True):
            values = found[name]["arms"][arm]
            area, variance = brute_force_delong(own[truth == 0], own[truth == 1])
            assert values["auc"] == pytest.approx(roc_auc_score(truth, own)) == pytest.approx(area)
            half = 1.959964 * math.sqrt(variance)
            assert values["auc_delong_low"] == pytest.approx(area - half, abs=1e-6)
            assert values["auc_delong_high"] == pytest.approx(min(area + half, 1), abs=1e-6)
            assert values["auc_low"] < area < values["auc_high"]
            assert values["brier"] == pytest.approx(brier_score_loss(truth, own))
            assert values["calibration"] == pytest.approx(own.mean() - truth.mean())
            assert values["shift"] == pytest.approx(own.mean() - p[0].mean())
            assert values["flipped"] == pytest.approx(np.mean((own >= 0.6) != (p[0] >= 0.6)))
            assert values["to_negative"] + values["to_positive"] == pytest.approx(values["flipped"])
        net = found[name]["arms"]["net"]
        assert net["difference"] == pytest.approx(net["auc"] - found[name]["arms"]["bicubic"]["auc"])
        assert net["verdict"] and not found[name]["arms"]["bicubic"]["verdict"]
        assert found[name]["arms"]["bicubic"]["p_delong"] is None


def test_delong_test_of_paired_areas_by_hand():
    """T-44: arm x: placements 1, 1/2 and 1/2, 1; arm y: 1, 1 and 1, 1, so that its covariance with x is 0."""
    absent, present = np.array([[1.0, 3.0], [1.0, 1.0]]), np.array([[4.0, 2.0], [2.0, 2.0]])
    areas, covariance = roc.delong(absent, present)
    assert areas.tolist() == [0.75, 1.0]
    assert covariance == pytest.approx(np.array([[1 / 8, 0], [0, 0]]))
    expected = 2 * stats.norm.sf(0.25 / math.sqrt(1 / 8))
    assert classification._two_sided(-0.25, 1 / 8) == pytest.approx(expected)
    assert classification._two_sided(0.0, 0.0) is None


def test_bootstrap_of_patients_with_and_without_a_finding_draws_them_together():
    """T-44: with two patients, a sample that drew only one of them has no AUC or that patient's own."""
    absent, present = np.array([[0.0, 2.0]]), np.array([[1.0, 3.0]])
    samples = roc.bootstrap(absent, present, np.array([0, 1]), 400, 0, np.array([0, 1]))[:, 0]
    # Patient 0 twice: 1 > 0. Patient 1 twice: 3 > 2. Each once: three of four pairs.
    assert set(samples.round(6)) == {1.0, 0.75}
    assert (samples == 0.75).mean() == pytest.approx(0.5, abs=0.1)
    apart = roc.bootstrap(absent, present, np.array([0, 0]), 400, 0, np.array([1, 1]))[:, 0]
    assert np.isnan(apart).mean() == pytest.approx(0.5, abs=0.1) and set(apart[~np.isnan(apart)]) == {0.75}
    weights = np.array(list(itertools.product(range(3), repeat=2)))
    own = roc._weighted_auc(absent[0], present[0], weights, weights[::-1])
    for w, v, area in zip(weights, weights[::-1], own, strict=True):
        pairs = [roc.auc(np.repeat(absent[0], w), np.repeat(present[0], v))] if w.any() and v.any() else [np.nan]
        assert area == pytest.approx(pairs[0], nan_ok=True)


def test_labels_with_too_few_patients_have_no_numbers():
    """T-44: counted in patients, not in images; nothing left is an error."""
    given = scores()
    given.truth[:, 1] = 0
    given.truth[:8, 1] = 1  # of four patients
    found, left_out = classification.assess(given, ["a", "b"], 0.02)
    assert list(found) == ["a"] and left_out == {"b": "4 patients with and 26 without it"}
    given.truth[:, 0] = 1
    with pytest.raises(InputError, match="at least 5 patients with and without it, received a: 30 patients with and 0"):
        classification.assess(given, ["a", "b"], 0.02)


def test_images_are_prepared_as_declared():
    """T-44: value range, size and polarity."""
    image = np.full((8, 8), 51, np.uint8)
    same = classifiers.Declaration((8, 8), (-1, 1), "stored")
    assert same.prepare(image, 255) == pytest.approx(np.full((8, 8, 1), -0.6))
    other = classifiers.Declaration((4, 2), (0, 255), "inverted")
    assert other.prepare(image, 255) == pytest.approx(np.full((4, 2, 1), 204))


@pytest.mark.parametrize(
    "text, message",
    [
        ("a,b\n", "expected a first line `id,LABEL,...`"),
        ("id,a,a\n", "with different names"),
        ("id,a\nx\n", "expected an image and 1 values in line 2"),
        ("id,a\nx,yes\n", "expected 0, 1 or nothing in line 2 of .*Received: 'yes'"),
        ("id,a\nx,1\nx,0\n", "line 3 of .* has the id of a line above it"),
    ],
)
def test_label_files_are_checked(tmp_path, text, message):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        labels.read(path)
    path.write_text("\ufeffid,a,b\nx,1,\ny,0,1.0\n", encoding="utf-8")
    found = labels.read(path)
    assert found.names == ["a", "b"] and found.of["y"].tolist() == [0, 1] and math.isnan(found.of["x"][1])


def test_labels_of_a_folder_name_files(tmp_path):
    """T-44: ids there are numbers that change with the folder, so that labels by id would become wrong silently."""
    source = ArraySource(tmp_path, {"test": [np.zeros((8, 8, 1), np.uint8)] * 3})
    given = labels.Labels(["a"], {"p/x.png": np.ones(1), "p/z.png": np.zeros(1)}, "file")
    with pytest.raises(InputError, match="labels of images of arrays need the column id. Received: file"):
        given.by_id(source)
    rows = [
        "id,file,frame,patient,split",
        "test_0,p/x.png,0,0,test",
        "test_1,p/x.png,1,0,test",
        "test_2,p/y.png,0,1,test",
    ]
    (source.folder / "sources.csv").write_text("\n".join(rows))
    assert given.by_id(source) == {"test_0": 1, "test_1": 1}
    with pytest.raises(InputError, match="labels of images of arrays need the column file. Received: id"):
        labels.Labels(["a"], {"test_0": np.ones(1)}).by_id(source)
    (tmp_path / "labels.csv").write_text("file,a\np/x.png,1\n")
    assert labels.read(tmp_path / "labels.csv").key == "file"


# -- Files of classifiers -------------------------------------------------------------------------------------------


def network(side=SIDE):
    """Two outputs: mean of the image, and 1 minus it."""
    import keras

    image = keras.Input((side, side, 3))
    mean = keras.layers.GlobalAveragePooling2D()(image)
    weights = np.float32([[1 / 3, -1 / 3]] * 3), np.float32([0, 1])
    dense = keras.layers.Dense(2)
    model = keras.Model(image, dense(mean))
    dense.set_weights(weights)
    return model


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The network as `.keras` and, for input and output of 8 bits too, as `.tflite`."""
    import tensorflow as tf

    folder, model = tmp_path_factory.mktemp("classifiers"), network()
    model.save(folder / "net.keras")
    model.trainable = False
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    (folder / "net.tflite").write_bytes(converter.convert())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    flat = [np.full((1, SIDE, SIDE, 3), v, np.float32) for v in np.linspace(0, 1, 9)]
    converter.representative_dataset = lambda: ([image] for image in flat)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of input statistics, which are above
        (folder / "int8.tflite").write_bytes(converter.convert())
    return folder


@pytest.mark.parametrize("name, error", [("net.keras", 1e-6), ("net.tflite", 1e-6), ("int8.tflite", 0.01)])
def test_files_return_what_the_network_computes(files, name, error):
    """T-44: gray images are repeated for RGB; the network returns the mean and 1 minus it."""
    classifier = classifiers.load(str(files / name))
    assert classifier.name == name and len(classifier.sha256) == 64 and classifier.size == (SIDE, SIDE)
    brightness = np.float32([1, 0.5, 0.8]).reshape(3, 1, 1, 1)
    images = brightness * np.random.default_rng(1).random((3, SIDE, SIDE, 1), np.float32)
    means = images.mean((1, 2, 3))
    assert classifier(images, ["a", "b"]) == pytest.approx(np.stack([means, 1 - means], 1), abs=error)
    with pytest.raises(InputError, match="expected 3 outputs for each image from classifier"):
        classifier(images, ["a", "b", "c"])


def test_wrong_classifiers_are_one_line(tmp_path, monkeypatch):
    """T-44: safe_mode, no probabilities, no function."""
    import keras

    image = keras.Input((8, 8, 1))
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(keras.layers.Lambda(lambda x: x + 1)(image)))
    model.save(tmp_path / "unsafe.keras")
    (tmp_path / "not.tflite").write_bytes(b"nothing")
    (tmp_path / "own_classifier.py").write_text("def large(images): return images.sum((1, 2, 3))\nnumber = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name, message in {
        str(tmp_path / "unsafe.keras"): "is not a network that Keras can load safely",
        str(tmp_path / "not.tflite"): "is no .tflite file that LiteRT can run",
        str(tmp_path / "none.keras"): "expected a classifier at .*, found none",
        "own_classifier:small": "expected a function small in an importable module own_classifier",
        "own_classifier_2:small": "expected a function small in an importable module own_classifier_2",
        "own_classifier:number": "expected a function. Received: own_classifier:number, a int",
        "large": "classifier must be a .keras or .tflite file, or module:function. Received: large",
    }.items():
        with pytest.raises(InputError, match=message):
            classifiers.load(name)
    with pytest.raises(InputError, match="probabilities of 0 to 1 .*, received 64 to 64; end it with a sigmoid"):
        classifiers.load("own_classifier:large")(np.ones((2, 8, 8, 1), np.float32), ["a"])


# -- The command ----------------------------------------------------------------------------------------------------

FLAGS = "--scale 2 --classifier_range 0 1 --classifier_polarity stored".split()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Forty images of as many patients; every second one is brighter: label `bright`."""
    rng = np.random.default_rng(3)
    images = [rng.integers(60 + 40 * (i % 2), 140 + 40 * (i % 2), (SIDE, SIDE, 1), np.uint8) for i in range(40)]
    folder = tmp_path_factory.mktemp("classified")
    (folder / "labels.csv").write_text(
        "id,bright,dark\n" + "".join(f"test_{i},{i % 2},{1 - i % 2}\n" for i in range(38)) + "elsewhere,1,1\n"
    )
    return ArraySource(folder, {"test": images}), folder / "labels.csv"


def test_command_reports_a_classifier(dataset, files, tmp_path, monkeypatch, capsys):
    """T-44: every arm is seen by the file at its size; labels that are known for 38 images; no tasks."""
    source, path = dataset
    monkeypatch.setattr(data, "load_for", lambda *_: source)
    out = tmp_path / "out"
    flags = ["lanczos", "--classifier", str(files / "net.tflite"), "--labels", str(path), "--output", str(out)]
    assert observe.main([*flags, *FLAGS]) == 0
    assert "lanczos against bicubic interpolation: equivalent for label bright, label dark" in capsys.readouterr().out
    content = json.loads((out / "observe.json").read_text())
    classifier = content["classifier"]
    assert content["tasks"] == [] and classifier["images"] == 38 and classifier["name"] == "net.tflite"
    bright = classifier["labels"]["bright"]
    assert list(bright["arms"]) == ["HR", "LR", "bicubic", "back_projection", "unsharp_mask", "lanczos"]
    assert all(values["auc"] == 1 for values in bright["arms"].values())  # interpolation keeps the mean
    means = np.array([image.mean() / 255 for image in source.images["test"][:38]])
    assert bright["arms"]["HR"]["calibration"] == pytest.approx(means.mean() - 0.5, abs=1e-6)
    assert "net.tflite: bright" in (out / "report.md").read_text() and not (out / "unfinished").exists()
    assert "DeLong&#x27;s intervals" in (out / "report.html").read_text()


def test_command_runs_a_function_and_does_not_keep_its_results(dataset, tmp_path, monkeypatch):
    """T-44: an interrupted function starts again, because its code may have changed."""
    source, path = dataset
    monkeypatch.setattr(data, "load_for", lambda *_: source)
    (tmp_path / "own_means.py").write_text(
        "def means(images):\n    m = images.mean((1, 2, 3))\n    return __import__('numpy').stack([m, 1 - m], 1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    flags = ["lanczos", "--classifier", "own_means:means", "--labels", str(path), "--output", str(tmp_path / "out")]
    assert observe.main([*flags, *FLAGS, "--classifier_size", "12", "16"]) == 0
    found = json.loads((tmp_path / "out" / "observe.json").read_text())["classifier"]
    assert found["size"] == [12, 16] and found["sha256"] == "" and found["labels"]["dark"]["arms"]["LR"]["auc"] == 1


def test_finished_images_of_a_file_are_kept_and_those_of_a_function_are_not(dataset, tmp_path):
    """T-44: another file, declaration or label order is another classifier."""
    source, path = dataset
    calls = []

    def function(images):
        calls.append(len(images))
        return np.stack([images.mean((1, 2, 3))] * 2, axis=1)

    def scored(**changes):
        classifier = classifiers.Classifier("net.keras", changes.pop("sha256", "1f"), None, function)
        declaration = classifiers.Declaration((8, 8), (0, 1), changes.pop("polarity", "stored"))
        arguments = [upscalers.load("bicubic")], source, degradations.make(2), results.Settings(("test",), 2)
        return classification.score(classifier, declaration, labels.read(path), *arguments, store, progress=False)

    store = parts.Parts(tmp_path)
    first = scored()
    assert calls == [3] * 38 and (scored().probabilities == first.probabilities).all() and len(calls) == 38
    assert scored(polarity="inverted").probabilities == pytest.approx(1 - first.probabilities, abs=1e-6)
    assert len(calls) == 76 and scored(sha256="2f") and len(calls) == 114
    assert scored(sha256="") and scored(sha256="") and len(calls) == 190


@pytest.mark.parametrize(
    "flags, message",
    [
        ([], "a classifier needs labels (--labels)"),
        (["--labels", "CSV", "--classifier_range", "0", "1"], "a classifier needs classifier_polarity"),
        (["--labels", "CSV", *FLAGS, "--classifier_range", "1", "0"], "classifier_range must be two rising numbers"),
        (["--labels", "CSV", *FLAGS, "--classifier_size", "12"], "net.keras takes images of 24 24. Received: 12 12"),
        (["--labels", "CSV", *FLAGS, "--threshold", "2"], "threshold must be 0 to 1. Received: 2"),
        (["--labels", "OTHER", *FLAGS], "none of 1 lines is about one of them"),
    ],
)
def test_missing_declarations_are_refused(dataset, files, tmp_path, monkeypatch, flags, message):
    """T-44: values, size and polarity are declared."""
    source, path = dataset
    monkeypatch.setattr(data, "load_for", lambda *_: source)
    (tmp_path / "other.csv").write_text("id,a,b\nx,1,0\n")
    texts = {"CSV": str(path), "OTHER": str(tmp_path / "other.csv")}
    flags = [texts.get(flag, flag) for flag in flags]
    out = tmp_path / "out"
    with pytest.raises(InputError, match=message.replace("(", r"\(").replace(")", r"\)")):
        observe.main(["bicubic", "--classifier", str(files / "net.keras"), *flags, "--output", str(out)])
    with pytest.raises(InputError, match=r"labels needs a classifier \(--classifier\)"):
        observe.main(["bicubic", "--labels", str(path), "--output", str(out)])
    assert not out.exists()
