"""What evaluations add to a model card, and how `python -m tfmisr.card` prints it (T-48, T-51)."""

import json

import pytest
from trust_doubles import calibrated

from tfmisr import card as card_command
from tfmisr.edge import card, card_evidence, runtime, shipped
from tfmisr.edge.errors import InputError

ARM = {"auc": 0.881, "difference": -0.003, "difference_low": -0.008, "difference_high": 0.002, "verdict": "equivalent"}
OBSERVATION = {
    "protocol": {"hash": "0123456789ab"},
    "tasks": [
        {
            "task": {"name": "dot"},
            "windows": 900,
            "patients": 40,
            "arms": {"HR": {"auc": 1.0}, "bicubic": {"auc": 0.884}, "fast-x2": ARM | {"p_value": 0.2}},
        }
    ],
}
CT = {"bias": 1.8, "bias_low": 1.2, "bias_high": 2.4, "bias_lung": 2.0, "n": 20, "patients": 12}
METRICS = {"protocol": {"hash": "fedcba987654"}, "models": {"bicubic": {"bias": 0.0}, "fast-x2": CT}}


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def test_task_and_bias_are_written_to_a_new_file_with_the_same_weights(tmp_path, capsys):
    # T-48, T-51
    observation, metrics = write(tmp_path / "observe.json", OBSERVATION), write(tmp_path / "metrics.json", METRICS)
    output = tmp_path / "new.tflite"
    flags = ["--task", str(observation), "--ct_bias", str(metrics), "--output", str(output)]
    assert card_command.main(["fast-x2", *flags]) == 0
    old, new = card.read(shipped.path("fast-x2")), card.read(output)
    assert new["weights_sha256"] == old["weights_sha256"] and runtime.Model(output).scale == 2
    assert new["task"] == {
        "hash": "0123456789ab",
        "table": [{"task": "dot", "windows": 900, "patients": 40, "bicubic_auc": 0.884, **ARM}],
    }
    assert new["measurements"]["ct_bias_hu"]["mean"] == 1.8
    assert new["limits"][: len(old["limits"])] == old["limits"]
    assert new["limits"][len(old["limits"]) :] == [
        "Moves the mean of CT images by +1.8 HU; do not measure CT numbers in its results."
    ]
    text = capsys.readouterr().out
    assert (
        "## Detectability" in text
        and "| dot | 900 | 40 | 0.884 | 0.881 | -0.003 | -0.008 | 0.002 | equivalent |" in text
    )
    assert "## Mean bias of CT numbers, in HU" in text and "| mean | 1.8 |" in text


def test_bias_of_at_most_one_hu_is_no_limit():
    # T-48: at most 1 HU, and a new result replaces an earlier one.
    moved = card_evidence.with_ct_bias({"limits": ["first"]}, METRICS, ["fast-x2"])
    assert len(moved["limits"]) == 2
    small = {"protocol": {"hash": "x"}, "models": {"fast-x2": CT | {"bias": -1.0}}}
    mended = card_evidence.with_ct_bias(moved, small, ["fast-x2"])
    assert mended["limits"] == ["first"] and mended["measurements"]["ct_bias_hu"]["mean"] == -1.0


@pytest.mark.parametrize(
    "add,content,message",
    [
        (card_evidence.with_task, METRICS, "expected observe.json"),
        (card_evidence.with_ct_bias, OBSERVATION, "expected metrics.json"),
        (card_evidence.with_ct_bias, METRICS | {"models": {"fast-x2": {"psnr": 40.0}}}, "without a bias"),
        (card_evidence.with_ct_bias, METRICS | {"models": {"fast-x2": CT | {"bias_lung": None}}}, "CT slices in HU"),
        (card_evidence.with_ct_bias, METRICS | {"models": {"best-x2": CT}}, "expected a result of fast-x2"),
        (
            card_evidence.with_task,
            {**OBSERVATION, "tasks": [{"arms": {"best-x2": ARM}}]},
            "expected a result of fast-x2",
        ),
    ],
)
def test_result_of_another_model_or_command_is_refused(add, content, message):
    with pytest.raises(InputError, match=message):
        add({}, content, ["fast-x2"])


def test_flags_that_do_not_fit_are_refused(tmp_path):
    observation = write(tmp_path / "observe.json", OBSERVATION)
    with pytest.raises(InputError, match="--output together with"):
        card_command.main(["fast-x2", "--task", str(observation)])
    with pytest.raises(InputError, match="another .tflite file than the model"):
        card_command.main(["fast-x2", "--task", str(observation), "--output", str(shipped.path("fast-x2"))])
    with pytest.raises(InputError, match="no uncertainty head"):
        card_command.main(["fast-x2", "--task", str(observation), "--output", str(tmp_path / "a.uncertainty.tflite")])
    assert not list(tmp_path.glob("*.tflite"))
    with pytest.raises(InputError, match="cannot be read as JSON"):
        card_command.main(["fast-x2", "--task", str(tmp_path), "--output", str(tmp_path / "a.tflite")])


def test_calibrated_card_is_printed(tmp_path, monkeypatch, capsys):
    # T-51
    path = calibrated(tmp_path, monkeypatch)
    card_command.main([str(path)])
    text = capsys.readouterr().out
    assert "## Uncertainty" in text and "with probability at least 0.9, at least 1 - alpha" in text
    assert "| 0.1 | 1.2 | none |" in text and "| patients | 57 |" in text
    assert "weights_sha256 cdcd" not in text and "## Applicability" not in text
