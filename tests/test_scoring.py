"""Scores of whole images, their summary, the files they go to, and protocols that do not mix."""

import csv
import json
import math

import numpy as np
import pytest
from synthetic import ArraySource, smooth_images

from tfmisr import degradations, evaluate, metrics
from tfmisr.data import pipeline
from tfmisr.edge.errors import InputError
from tfmisr.edge.upscaler import to_levels
from tfmisr.evaluation import merging, protocol, results, scoring, table, verdicts
from tfmisr.inference import upscalers


def evaluated(source, names=("nearest", "bicubic"), scale=2, **kwargs):
    return scoring.evaluate(
        [upscalers.load(name) for name in names],
        source,
        "test",
        scale,
        degradations.make(scale),
        progress=False,
        **kwargs,
    )


def test_scores_are_those_of_scikit_image_on_the_shaved_image(tiny_source):
    skimage_metrics = pytest.importorskip("skimage.metrics")
    result = evaluated(tiny_source, measures=("psnr", "ssim"))
    _, _, _max_val, lr, hr = next(pipeline.pairs(pipeline.cache_of(tiny_source, "test"), 2, degradations.make(2)))
    sr = np.rint(np.clip(upscalers.load("bicubic")(lr, 2), 0, 1) * 255).astype(np.uint8)
    row = next(r for r in result.rows if r["id"] == "test_0" and r["model"] == "bicubic")
    a, b = hr[2:-2, 2:-2, 0], sr[2:-2, 2:-2, 0]
    assert row["psnr"] == pytest.approx(skimage_metrics.peak_signal_noise_ratio(a, b, data_range=255))
    expected = skimage_metrics.structural_similarity(
        a, b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert row["ssim"] == pytest.approx(expected, abs=1e-6)
    assert row["psnr_center"] == pytest.approx(metrics.psnr(hr[12:52, 12:52], sr[12:52, 12:52], 255))


def test_summary_is_the_mean_and_the_paired_gain_by_hand():
    rows = [
        {"id": str(i), "patient": i, "model": model, "psnr": value}
        for model, values in {"bicubic": [30.0, 40.0], "net": [31.0, 43.0]}.items()
        for i, value in enumerate(values)
    ]
    summary = scoring.summarize(rows, {"bicubic": 0, "net": 7})
    assert summary["net"]["psnr"] == 37.0
    assert summary["net"]["psnr_gain"] == 2.0
    assert (summary["net"]["psnr_gain_low"], summary["net"]["psnr_gain_high"]) == (1.0, 3.0)
    assert summary["bicubic"]["psnr_gain"] == 0.0
    assert (summary["net"]["n"], summary["net"]["patients"], summary["net"]["parameters"]) == (2, 2, 7)


NAN = math.nan


@pytest.mark.parametrize(
    "gain,low,high,images,patients,expected",
    [
        (
            1.234,
            1.0,
            1.5,
            9,
            5,
            "beats bicubic by 1.23 dB (95 % interval +1.00 to +1.50) on 9 images of 5 patients",
        ),
        (-0.5, -0.9, -0.1, 9, 5, "net is worse than bicubic by 0.50 dB"),
        (0.1, -0.2, 0.4, 9, 5, "cannot be told apart: +0.10 dB"),
        (0.006, 0.002, 0.01, 9, 5, "beats bicubic by 0.0060 dB (95 % interval +0.0020 to +0.0100)"),
        (
            1.02,
            NAN,
            NAN,
            1,
            1,
            "too few patients to compare: net against bicubic +1.02 dB on 1 image of 1 patient, at least 5",
        ),
        (0.7, 0.6, 0.8, 9, 4, "too few patients to compare: net against bicubic +0.70 dB on 9 images of 4 patients"),
        (NAN, NAN, NAN, 0, 0, "cannot be compared in dB"),
    ],
)
def test_verdict_depends_on_gain_interval_and_number_of_patients(gain, low, high, images, patients, expected):
    found = {"psnr_gain": gain, "psnr_gain_low": low, "psnr_gain_high": high}
    # Eleven images of seven patients, of which the others have no PSNR.
    some = {"n": 11, "patients": 7, "psnr_n": images, "psnr_patients": patients}
    assert expected in verdicts.verdict({"net": found | some}, "net")
    assert expected in verdicts.verdict({"net": found | {"n": images, "patients": patients}}, "net")


def test_images_without_a_psnr_are_left_out_of_every_models_decibels_and_counted():
    psnr = {"bicubic": [math.inf, 30.0, 40.0], "net": [55.0, 31.0, 43.0], "exact": [math.inf, 32.0, 41.0]}
    rows = [
        {"id": str(i), "patient": i // 2, "model": model, "psnr": value, "ssim": 0.5 + i / 10, "vif": NAN}
        for model, values in psnr.items()
        for i, value in enumerate(values)
    ]
    summary = scoring.summarize(rows, dict.fromkeys(psnr, 0))
    # By hand: only images 1 and 2 count in dB, of patients 0 and 1; SSIM is defined everywhere.
    assert [summary[m]["psnr"] for m in psnr] == [35.0, 37.0, 36.5]
    assert [summary[m]["psnr_gain"] for m in psnr] == [0.0, 2.0, 1.5]
    assert (summary["net"]["psnr_gain_low"], summary["net"]["psnr_gain_high"]) == (1.0, 3.0)
    assert (summary["net"]["psnr_n"], summary["net"]["psnr_patients"], summary["net"]["n"]) == (2, 2, 3)
    assert summary["net"]["ssim"] == pytest.approx(0.6) and "ssim_n" not in summary["net"]
    assert math.isnan(summary["net"]["vif"]) and summary["net"]["vif_n"] == 0
    assert verdicts.left_out(summary) == (
        "1 of 3 images left out of psnr: reproduced exactly, as blank images are (infinite PSNR)",
        "3 of 3 images left out of vif: blank, or a side is below 41 pixels",
    )


@pytest.fixture
def half_blank(tmp_path):
    """Six images of six patients, of which the second, third and fifth are of one gray value."""
    images = smooth_images(6, 64, 2)
    for i, value in ((1, 0), (2, 77), (4, 255)):
        images[i] = np.full_like(images[i], value)
    return ArraySource(tmp_path, {"test": images, "validation": images[1:3]})


def test_blank_images_are_reported_in_every_file_and_not_shown_in_the_montage(half_blank, tmp_path):
    result = evaluated(half_blank, measures=("psnr", "ssim", "haarpsi"))
    for found in result.summary.values():
        assert (found["psnr_n"], found["n"]) == (3, 6)
    assert result.summary["nearest"]["psnr"] == np.mean(
        [row["psnr"] for row in result.rows if row["model"] == "nearest" and math.isfinite(row["psnr"])]
    )
    # An image without error is fully similar, and counts.
    blank = [row[measure] for row in result.rows if row["id"] == "test_2" for measure in ("ssim", "haarpsi")]
    assert blank == pytest.approx([1.0] * 4)
    assert result.case in ("test_0", "test_3", "test_5")
    written = results.write(result, tmp_path / "out")
    assert (
        written["notes"][0]
        == "3 of 6 images left out of psnr and psnr_center: reproduced exactly, as blank images are (infinite PSNR)"
    )
    text = (tmp_path / "out" / "table.md").read_text()
    assert "| PSNR [dB] (95 % interval), 3 of 6 |" in text and f"Note: {written['notes'][0]}.\n" in text
    assert "| MS-SSIM" not in text and "PSNR [dB], 3 of 6 " in table.console_table(written)
    with open(tmp_path / "out" / "per_image.csv", newline="") as file:
        cells = [row["psnr"] for row in csv.DictReader(file) if row["model"] == "bicubic"]
    assert [bool(cell) for cell in cells] == [True, False, False, True, False, True]


def test_images_without_any_psnr_have_no_decibels_and_a_reason(half_blank, tmp_path):
    half_blank.images["test"] = half_blank.images["validation"]
    result = evaluated(half_blank, measures=("psnr", "ssim"))
    written = results.write(result, tmp_path / "out")
    assert written["models"]["bicubic"]["psnr"] is written["models"]["nearest"]["psnr_gain"] is None
    assert written["models"]["bicubic"]["ssim"] == pytest.approx(1.0)
    assert written["notes"][0].startswith("2 of 2 images left out of psnr")
    assert "cannot be compared in dB" in verdicts.verdict(result.summary, "nearest")
    assert merging.merged_models([str(tmp_path / "out" / "metrics.json")], result).keys() == {"nearest", "bicubic"}


def test_results_with_a_psnr_of_other_images_are_not_merged(half_blank, tmp_path):
    result = evaluated(half_blank, measures=("psnr",))
    written, path = results.write(result, tmp_path / "out"), tmp_path / "out" / "metrics.json"
    assert merging.merged_models([str(path)], result).keys() == {"nearest", "bicubic"}
    assert merging.merged_models([str(path.parent)], result).keys() == {"nearest", "bicubic"}
    for model in written["models"].values():  # as it was written before blank images were left out
        del model["psnr_n"]
        model["psnr"] = None
    path.write_text(json.dumps(written))
    with pytest.raises(InputError, match="holds PSNR of 0 images, this evaluation of 3"):
        merging.merged_models([str(path)], result)


def test_files_hold_the_protocol_and_can_be_read_back(tiny_source, tmp_path):
    result = evaluated(tiny_source)
    written = results.write(result, tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["metrics.json", "montage.png", "per_image.csv", "table.md"]
    read = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert read == written
    assert read["protocol"]["hash"] == result.protocol.hash
    assert result.protocol.hash in (tmp_path / "out" / "table.md").read_text()
    with open(tmp_path / "out" / "per_image.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 and {row["protocol"] for row in rows} == {result.protocol.hash}
    assert list(rows[0])[:4] == ["id", "patient", "model", "psnr"] and {row["ms_ssim"] for row in rows} == {""}
    # 64 pixels are too few for five scales: not a number in Python, null in JSON.
    assert read["models"]["bicubic"]["ms_ssim"] is None
    assert "4 of 4 images left out of ms_ssim: a side is below 161 pixels" in read["notes"]


def test_hash_of_the_protocol_changes_with_everything_that_a_score_depends_on(tiny_source):
    base = evaluated(tiny_source).protocol
    others = [
        evaluated(tiny_source, crop_border=5).protocol,
        evaluated(tiny_source, scale=4).protocol,
        evaluated(tiny_source, max_images=2).protocol,
        scoring.evaluate(
            [upscalers.load("bicubic")], tiny_source, "test", 2, degradations.make(2, 1.0), progress=False
        ).protocol,
    ]
    tiny_source.name = "renamed"
    others.append(evaluated(tiny_source).protocol)
    assert len({base.hash, *(o.hash for o in others)}) == 6


def test_equal_images_give_an_equal_hash_and_one_other_pixel_does_not():
    def digest(value, max_val=255):
        found = protocol.ImagesHash()
        found.add("a", np.full((2, 2, 1), value, np.uint8), max_val)
        return found.hexdigest()

    assert digest(1) == digest(1) != digest(2)
    assert digest(1, 127) != digest(1)


def test_results_of_another_protocol_are_refused_by_the_first_difference(tiny_source):
    one, other = evaluated(tiny_source).protocol.to_dict(), evaluated(tiny_source, crop_border=0).protocol.to_dict()
    protocol.require_same(one, one, "x")
    with pytest.raises(InputError, match="x was measured by another protocol: crop_border is 0 there and 2 here"):
        protocol.require_same(one, other, "x")


def test_all_splits_together_are_their_sum(tiny_source):
    upscaler = [upscalers.load("bicubic")]
    result = scoring.evaluate(upscaler, tiny_source, "all", 2, degradations.make(2), measures=("psnr",), progress=False)
    assert result.protocol.images == 12 + 4 + 4


def test_picture_shows_the_median_case_not_the_best(tiny_source):
    result = evaluated(tiny_source, ("bicubic", "lanczos"), measures=("psnr",))
    gains = {
        case: next(r["psnr"] for r in result.rows if (r["id"], r["model"]) == (case, "lanczos"))
        - next(r["psnr"] for r in result.rows if (r["id"], r["model"]) == (case, "bicubic"))
        for case in {row["id"] for row in result.rows}
    }
    assert sorted(gains, key=gains.get).index(result.case) == 2
    assert list(result.picture) == ["LR", "bicubic", "lanczos", "HR"]
    caption = results.case_caption(result.summary)
    assert caption == f"median case of {len(gains)} by PSNR gain of lanczos over bicubic"
    assert results.case_caption({"bicubic": {"n": 5}}) == "one of 5 images"
    assert results.case_caption({"bicubic": {"n": 1}, "lanczos": {"n": 1}}) == "the only image"


def test_image_too_small_for_the_border_is_named(tiny_source):
    with pytest.raises(InputError, match="crop_border 30. Received: test_0 with 64x64"):
        evaluated(tiny_source, crop_border=30)


@pytest.mark.parametrize("side,scale,crop_border", [(27, 3, 8), (24, 2, 6)])
def test_more_than_eleven_pixels_must_be_left_within_the_borders(tmp_path, side, scale, crop_border):
    source = ArraySource(tmp_path, {"test": [image[:side] for image in smooth_images(1, 63, 0)]})
    if side - 2 * crop_border > 11:
        result = evaluated(source, scale=scale, crop_border=crop_border, measures=("psnr", "ssim"))
        assert math.isfinite(result.summary["bicubic"]["ssim"])
    else:
        with pytest.raises(InputError, match="larger than 27 pixels for crop_border 8. Received: test_0 with 27x63"):
            evaluated(source, scale=scale, crop_border=crop_border, measures=("psnr",))


def test_network_of_another_scale_or_channel_count_is_refused(tmp_path):
    from tfmisr import models

    models.create("cnn5", 4, num_filters=4).save(tmp_path / "net.keras")
    upscaler = upscalers.load(str(tmp_path / "net.keras"))
    assert (upscaler.name, upscaler.scale, upscaler.channels) == ("net", 4, 1)
    with pytest.raises(InputError, match="net upscales by 4. Received: scale=2"):
        upscaler(np.zeros((8, 8, 1), np.float32), 2)
    with pytest.raises(InputError, match=r"1 channel. Received: 3"):
        upscaler(np.zeros((8, 8, 3), np.float32), 4)
    with pytest.raises(InputError, match="numbers of different protocols are not compared"):
        evaluate.main([str(tmp_path / "net.keras"), "--scale", "2", "--output", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_unfinished_run_is_distinguished_from_no_run(tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    with pytest.raises(InputError, match="is not finished; start its fit again"):
        upscalers.load(str(tmp_path / "run"))
    with pytest.raises(InputError, match="is no run"):
        upscalers.load(str(tmp_path))


def test_levels_by_hand():
    levels = to_levels(np.array([-0.1, 0.0, 0.4999, 0.5001, 1.0, 7.0]), 255)
    assert levels.tolist() == [0, 0, 127, 128, 255, 255]
    assert levels.dtype == np.uint8
    assert to_levels(np.array([1.0]), 4095).dtype == np.uint16


def test_another_model_of_the_same_name_is_not_merged_away(tiny_source, tmp_path):
    result = evaluated(tiny_source)
    written = results.write(result, tmp_path / "out")
    path = tmp_path / "out" / "metrics.json"
    assert merging.merged_models([str(path)], result).keys() == {"nearest", "bicubic"}
    written["models"]["nearest"]["psnr"] += 1.0
    path.write_text(json.dumps(written))
    with pytest.raises(InputError, match="another model named nearest"):
        merging.merged_models([str(path)], result)


def test_optional_metrics_change_the_protocol_only_where_they_are_measured(tiny_source):
    usual, fewer = evaluated(tiny_source).protocol, evaluated(tiny_source, measures=("psnr", "ssim")).protocol
    # The text of the first release; another one would change the hashes of all earlier results.
    assert (
        usual.measures
        == fewer.measures
        == (
            "PSNR; SSIM Gaussian 11x11 sigma 1.5 (Wang 2004); MS-SSIM five scales (Wang 2003); "
            "HaarPSI C=30 alpha=4.2 (Reisenhofer 2018), HaarPSI_MED C=5 alpha=4.9"
        )
    )
    assert usual.hash == fewer.hash
    more = evaluated(tiny_source, measures=("psnr", "gmsd", "vif")).protocol
    assert more.measures == usual.measures + (
        "; VIFp pixel domain, four scales, of the luma (Sheikh 2006); GMSD c=170, of the luma (Xue 2014)"
    )
    assert more.hash == evaluated(tiny_source, measures=("vif", "psnr", "gmsd")).protocol.hash != usual.hash


def test_every_further_measure_has_a_definition():
    for name in metrics.optional_names():
        assert protocol.definitions([name], "x") != protocol.definitions([])


def test_no_reference_metrics_are_measured_on_the_reference_too(tiny_source, tmp_path):
    result = evaluated(tiny_source, measures=("psnr", "noise", "sharpness", "laplacian"))
    noise = [metrics.noise(hr, hr, 255) for hr in (image[2:-2, 2:-2] for image in tiny_source.images["test"])]
    for found in result.summary.values():
        assert found["noise_hr"] == pytest.approx(np.mean(noise))
        assert "noise_hr_gain" not in found
    assert result.summary["nearest"]["noise"] != result.summary["bicubic"]["noise"]
    results.write(result, tmp_path / "out")
    text = (tmp_path / "out" / "table.md").read_text()
    assert f"noise (HR {np.mean(noise):.2f})" in text and "Laplacian (HR " in text and "sharpness (HR 1)" in text


@pytest.fixture
def own_network(tmp_path):
    import keras

    keras.utils.set_random_seed(0)
    convolution = keras.layers.Conv2D(3, 5, activation="relu")
    keras.Sequential([keras.Input((None, None, 1)), convolution]).save(tmp_path / "own.keras")
    return tmp_path / "own.keras"


def test_distances_of_sets_come_once_a_model_with_a_warning_of_few_images(tiny_source, own_network):
    from tfmisr.metrics import _features, sets

    network = _features.from_file(own_network)
    result = evaluated(tiny_source, measures=("psnr", "fid", "kid"), features=network)
    images = tiny_source.images["test"]
    lr = [lr for *_, lr, _ in pipeline.pairs(pipeline.cache_of(tiny_source, "test"), 2, degradations.make(2))]
    sr = [upscalers.load("nearest")(x, 2, 255) for x in lr]
    pair = [np.stack([network(image[2:-2, 2:-2], 255) for image in own]) for own in (images, sr)]
    assert result.summary["nearest"]["fid"] == pytest.approx(sets.frechet_distance(*pair))
    assert result.summary["nearest"]["kid"] == pytest.approx(sets.kernel_distance(*pair)[0])
    assert network.description in result.protocol.measures
    assert not {"fid", "kid"} & set(result.rows[0])
    assert "FID of 4 images by 3 features is biased" in result.notes[-1]
    assert not any("FID" in note for note in evaluated(tiny_source, measures=("psnr", "kid"), features=network).notes)


def test_command_takes_names_with_commas_and_spaces_and_a_network(
    tiny_source, own_network, tmp_path, monkeypatch, capsys
):
    from tfmisr import data

    monkeypatch.setattr(data, "load_for", lambda *args: tiny_source)
    flags = ["--scale", "2", "--features", str(own_network), "--features_range", "signed", "--output", str(tmp_path)]
    evaluate.main(["nearest", "--measures", "psnr,vif", "gmsd", "fid", *flags])
    read = json.loads((tmp_path / "metrics.json").read_text())
    assert {"psnr", "vif", "gmsd", "fid"} <= read["models"]["nearest"].keys()
    assert "kid" not in read["models"]["nearest"] and "signed" in read["protocol"]["measures"]
    assert "warning: FID of 4 images" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags,message",
    [
        (["--measures", "psnr", "vift"], "measure must be one of .* did you mean vif?"),
        (["--features", "a.keras"], "add one of them to --measures"),
        (["--measures", "psnr", "fid", "--features_range", "unit"], "give it too"),
        (["--measures", "psnr", "fid", "--features", "nowhere.keras"], "found none at nowhere.keras"),
    ],
)
def test_mistake_in_the_flags_of_metrics_is_reported(flags, message, tiny_source, monkeypatch):
    from tfmisr import data

    monkeypatch.setattr(data, "load_for", lambda *args: tiny_source)
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        evaluate.main(["bicubic", "--scale", "2", *flags])
