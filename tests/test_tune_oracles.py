"""Who proposes trials survives kills, lost workers and lost chiefs, and proposes nothing twice."""

import dataclasses
import json
import os
import re
import socket
import threading
import time

import pytest

from tfmisr.config.fields import Config
from tfmisr.edge.errors import InputError
from tfmisr.tuning import oracles, recoverable_oracle, results, service, space, worker
from tfmisr.tuning.sweep import Sweep

GRID = {"num_layers": [3, 5], "learning_rate": [0.1, 0.001], "seed": [0, 1]}


def oracle_of(folder, tuner="grid", described=None, **fields):
    """Returns an oracle as a fresh process makes it."""
    base = Config(steps=270, workdir=str(folder))
    folder.mkdir(exist_ok=True)
    sweep = Sweep(base, tuner, space=described or GRID, **fields)
    return oracles.make(sweep, space.DeclaredSpace(sweep.space, base, "x"))


def end(oracle, trial, score=None, reason="it broke"):
    """Does what a runner and a worker do at the end of a trial."""
    status = "failed" if score is None else "completed"
    values = dict(oracle.trials[trial.trial_id].hyperparameters.values) if hasattr(oracle, "trials") else {}
    result = {"trial": trial.trial_id, "status": status, "values": values, "seed": 0}
    result |= {"reason": reason if score is None else None, "val_psnr": score, "seconds": 1.0}
    folder = oracle.folder
    results.home(folder, trial.trial_id).mkdir(parents=True, exist_ok=True)
    results.write(folder, trial.trial_id, result)
    oracle.end_trial(trial)


def values_of(trial):
    return {k: v for k, v in trial.hyperparameters.values.items() if not k.startswith("tuner/")}


def test_grid_is_every_combination_once_with_the_seed_slowest(tmp_path):
    oracle, found = oracle_of(tmp_path), []
    while (trial := oracle.create_trial("a")).status == "RUNNING":
        found.append(tuple(values_of(trial).values()))
        end(oracle, trial, 30.0)
    assert found == [(a, b, seed) for seed in (0, 1) for a in (3, 5) for b in (0.1, 0.001)]
    assert oracle.stopped and oracle.expected == 8


def test_grid_goes_on_in_a_new_process_with_the_trial_that_was_running(tmp_path):
    first = oracle_of(tmp_path)
    end(first, first.create_trial("a"), 30.0)
    running = first.create_trial("a")
    again = oracle_of(tmp_path)
    trial = again.create_trial("a")
    assert (trial.trial_id, values_of(trial)) == (running.trial_id, values_of(running))
    seen = [trial.trial_id]
    end(again, trial, 31.0)
    while (trial := again.create_trial("a")).status == "RUNNING":
        seen.append(trial.trial_id)
        end(again, trial, 30.0)
    assert seen == [str(i) for i in range(1, 8)]


@pytest.mark.parametrize("name", ["oracle/oracle.json", "oracle/trial_0/trial.json", "trials/0/result.json"])
def test_damaged_file_of_a_sweep_is_one_line_that_names_it(tmp_path, name):
    oracle = oracle_of(tmp_path)
    end(oracle, oracle.create_trial("a"), 30.0)
    path = tmp_path / name
    content = path.read_text()
    cut = [content[: len(content) * i // 12] for i in range(12)]
    for damaged in (*cut, "[]", "null", "{}", '{"start_order": ["0"]}', '{"trial": "0", "values": 1}', "[" * 99_999):
        path.write_text(damaged)
        with pytest.raises(InputError, match=rf"{re.escape(str(path))} is damaged \(.+\); (restore|delete)") as error:
            results.read_all(oracle_of(tmp_path).folder)
        assert "\n" not in str(error.value)
    path.write_text(content)
    assert results.read_all(oracle_of(tmp_path).folder)[0]["val_psnr"] == 30.0


@pytest.mark.parametrize("tuner", ["random", "bayesian"])
def test_what_is_proposed_does_not_depend_on_kills(tmp_path, tuner):
    described = {"num_layers": {"min": 2, "max": 9}, "learning_rate": {"min": 1e-5, "max": 1e-1, "log": True}}

    def proposals(folder, restart):
        oracle, found = oracle_of(folder, tuner, described, max_trials=5), []
        for _ in range(5):
            trial = oracle.create_trial("a")
            found.append(values_of(trial))
            if restart:
                oracle = oracle_of(folder, tuner, described, max_trials=5)
                trial = oracle.create_trial("a")
            end(oracle, trial, 30.0 + found[-1]["learning_rate"])
        assert oracle.create_trial("a").status == "STOPPED"
        return found

    assert proposals(tmp_path / "a", False) == proposals(tmp_path / "b", True)


def test_bayesian_search_proposes_nothing_twice(tmp_path):
    oracle = oracle_of(tmp_path, "bayesian", {"num_layers": [3, 5, 7, 9, 11]}, max_trials=5)
    found = []
    while (trial := oracle.create_trial("a")).status == "RUNNING":
        found.append(tuple(values_of(trial).values()))
        end(oracle, trial, float(found[-1][0]))
    assert len(found) == len(set(found)) == 5


def test_bayesian_search_goes_on_beside_trials_of_others(tmp_path):
    described = {"learning_rate": {"min": 1e-4, "max": 1e-2}}
    oracle = oracle_of(tmp_path, "bayesian", described, max_trials=20)
    other = oracle.create_trial("slow")
    for _ in range(6):
        trial = oracle.create_trial("a")
        end(oracle, trial, trial.hyperparameters.values["learning_rate"])
    # A chief that starts again has not learned anything yet either.
    oracle = oracle_of(tmp_path, "bayesian", described, max_trials=20)
    assert oracle.create_trial("slow").trial_id == other.trial_id
    assert oracle.create_trial("a").status == "RUNNING"


def test_bayesian_search_keeps_away_from_where_trials_fail(tmp_path):
    # The score rises with the rate, but nothing above the middle can be had, as with --max_params.
    described = {"learning_rate": {"min": 0.01, "max": 1.0}}
    oracle = oracle_of(tmp_path, "bayesian", described, max_trials=12)
    lost = []
    for _ in range(12):
        trial = oracle.create_trial("a")
        rate = trial.hyperparameters.values["learning_rate"]
        lost.append(rate > 0.5)
        end(oracle, trial, None if rate > 0.5 else rate)
    assert sum(lost[8:]) <= 2  # it was all four: much the same value again and again


def test_trial_that_ended_before_its_chief_was_killed_is_not_run_again(tmp_path):
    oracle = oracle_of(tmp_path)
    first = oracle.create_trial("a")
    state = (tmp_path / "oracle" / "oracle.json").read_text()  # with the trial among the running ones
    end(oracle, first, 30.0)
    (tmp_path / "oracle" / "oracle.json").write_text(state)
    again = oracle_of(tmp_path)
    assert again.create_trial("a").trial_id == "1"
    assert again.end_order == ["0"]


def test_trial_that_was_not_handed_out_before_the_kill_is_proposed_anew(tmp_path):
    oracle = oracle_of(tmp_path, "random", {"learning_rate": {"min": 1e-5, "max": 1e-1}}, max_trials=4)
    end(oracle, oracle.create_trial("a"), 30.0)
    state = (tmp_path / "oracle" / "oracle.json").read_text()
    lost = values_of(oracle.create_trial("a"))
    (tmp_path / "oracle" / "oracle.json").write_text(state)
    again = oracle_of(tmp_path, "random", {"learning_rate": {"min": 1e-5, "max": 1e-1}}, max_trials=4)
    assert list(again.trials) == ["0"]
    assert values_of(again.create_trial("a")) == lost


def test_trial_of_a_silent_worker_goes_to_another_and_a_late_report_changes_nothing(tmp_path):
    oracle = oracle_of(tmp_path)
    lost = oracle.create_trial("a")
    assert oracle.drop_lost(60) == []
    time.sleep(0.02)
    assert oracle.drop_lost(0.01) == [("a", "0")]
    taken = oracle.create_trial("b")
    assert taken.trial_id == "0"
    end(oracle, taken, 31.0)
    end(oracle, lost, 99.0)
    assert oracle.trials["0"].score == 31.0 and oracle.end_order == ["0"]
    assert oracle.create_trial("b").trial_id == "1"


def test_trial_of_a_lost_worker_is_not_lost_with_its_chief(tmp_path):
    oracle = oracle_of(tmp_path)
    oracle.create_trial("a")
    time.sleep(0.02)
    oracle.drop_lost(0.01)
    assert oracle_of(tmp_path).create_trial("b").trial_id == "0"


def test_sign_of_life_keeps_a_trial(tmp_path):
    oracle = oracle_of(tmp_path)
    oracle.create_trial("a")
    time.sleep(0.3)
    oracle.get_trial("0")
    assert oracle.drop_lost(0.2) == []


def test_report_of_a_lost_worker_that_comes_before_anybody_took_over_counts(tmp_path):
    oracle = oracle_of(tmp_path)
    lost = oracle.create_trial("a")
    time.sleep(0.02)
    oracle.drop_lost(0.01)
    end(oracle, lost, 31.0)
    assert oracle.create_trial("b").trial_id == "1"


def test_idle_worker_stays_until_nobody_can_be_lost(tmp_path):
    oracle = oracle_of(tmp_path, described={"num_layers": [3, 5]})
    a, b = oracle.create_trial("a"), oracle.create_trial("b")
    end(oracle, b, 30.0)
    assert oracle.create_trial("b").status == "IDLE" and not oracle.stopped
    end(oracle, a, 30.0)
    assert oracle.create_trial("b").status == "STOPPED" and oracle.stopped


def test_failed_trial_costs_itself_alone_and_is_run_again_where_asked(tmp_path):
    oracle = oracle_of(tmp_path)
    end(oracle, oracle.create_trial("a"))
    assert oracle.trials["0"].message == "it broke"
    end(oracle, oracle.create_trial("a"), 30.0)
    again = oracle_of(tmp_path)
    assert again.retry_failed() == 1
    assert again.create_trial("a").trial_id == "0"


def test_search_in_which_everything_fails_is_given_up_with_the_reason(tmp_path):
    oracle = oracle_of(tmp_path)
    for _ in range(5):
        end(oracle, oracle.create_trial("a"))
    assert oracle.create_trial("a").status == "STOPPED"
    assert oracle.hopeless == "the first 5 trials failed, the last one so: it broke"


def test_hyperband_goes_on_with_the_best_third_and_counts_its_trials(tmp_path):
    oracle = oracle_of(tmp_path, "hyperband", {"learning_rate": {"min": 1e-5, "max": 1e-1}}, min_steps=10)
    # Brackets for 27 times as many steps: 27, 9, 3, 1; 12, 4, 2; 6, 2; 4 trials.
    assert oracle.expected == 40 + 18 + 8 + 4
    steps = []
    while (trial := oracle.create_trial("a")).status == "RUNNING":
        values = trial.hyperparameters.values
        steps.append(oracle.sweep.steps_of(values["tuner/epochs"]))
        if previous := values.get("tuner/trial_id"):
            assert values["learning_rate"] == oracle.trials[previous].hyperparameters.values["learning_rate"]
        end(oracle, trial, values["learning_rate"])
    assert len(steps) == oracle.expected
    assert set(steps) == {10, 30, 90, 270}


@pytest.mark.parametrize("many", [False, True])
def test_hyperband_goes_on_with_what_is_left_where_trials_fail(tmp_path, many):
    # Limits such as --max_params let many trials fail, more than a round drops.
    oracle = oracle_of(tmp_path, "hyperband", {"learning_rate": {"min": 1e-5, "max": 1e-1}}, min_steps=10)
    first, longer = [], []
    while (trial := oracle.create_trial("a")).status == "RUNNING":
        values = trial.hyperparameters.values
        if oracle.sweep.steps_of(values["tuner/epochs"]) == 10:
            good = len(first) in (0, 1, 2) if many else len(first) % 2 == 0
            first.append(values["learning_rate"] if good else None)
            end(oracle, trial, first[-1])
            continue
        if values["tuner/bracket"] == 3:
            longer.append((oracle.sweep.steps_of(values["tuner/epochs"]), values["learning_rate"]))
            assert oracle.trials[values["tuner/trial_id"]].status == "COMPLETED"
        end(oracle, trial, values["learning_rate"])
    best = sorted((rate for rate in first if rate), reverse=True)
    assert oracle.stopped and len(first) == oracle._get_size(3, 0) > 20
    assert [rate for steps, rate in longer if steps == 30] == best[: oracle._get_size(3, 1)]
    assert {steps for steps, _ in longer} == {30, 90, 270}


def test_failure_while_a_worker_is_answered_ends_the_chief_and_locks_nobody_out(tmp_path, network, monkeypatch):
    oracle = oracle_of(tmp_path)
    trial = oracle.create_trial("a")
    monkeypatch.setattr(results, "read", lambda folder, trial_id: (_ for _ in ()).throw(OSError(28, "No space left")))
    failed = threading.Thread(target=lambda: pytest.raises(OSError, end, oracle, trial, 30.0))
    failed.start()
    failed.join()
    found = []
    chief = threading.Thread(target=lambda: found.append(pytest.raises(OSError, service.serve, oracle, 30, int)))
    chief.start()
    chief.join(20)
    assert found and found[0].value.errno == 28
    late = threading.Thread(target=oracle.get_trial, args=("0",))
    late.start()
    late.join(5)
    assert not late.is_alive()


def test_grid_too_large_is_refused(tmp_path):
    fine = {"min": 0.0, "max": 0.9, "step": 0.001}
    with pytest.raises(InputError, match="a grid may have 100000 combinations"):
        oracle_of(tmp_path, described={"beta_1": fine, "beta_2": fine})


@pytest.fixture
def network(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(port))
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "chief")


def run_for(oracle):
    """Returns what stands for a runner: it writes the learning rate's value as the score."""

    def run(trial_id):
        text = (oracle.folder / "oracle" / f"trial_{trial_id}" / "trial.json").read_text()
        values = json.loads(text)["hyperparameters"]["values"]
        result = {"trial": trial_id, "status": "completed", "values": values, "seed": values["seed"], "reason": None}
        result["val_psnr"] = 30 + values["learning_rate"] / 3
        results.home(oracle.folder, trial_id).mkdir(parents=True, exist_ok=True)
        results.write(oracle.folder, trial_id, result)
        return result

    return run


def test_chief_and_workers_find_what_one_machine_finds(tmp_path, network):
    alone = oracle_of(tmp_path / "alone")
    worker.search(alone, "a", run_for(alone))
    shared = oracle_of(tmp_path / "shared")
    chief = threading.Thread(target=service.serve, args=(shared, 30, lambda: None))
    chief.start()
    clients = [service.Client(lambda: False, 20) for _ in range(2)]
    work = [
        threading.Thread(target=worker.search, args=(client, f"worker{i}", run_for(shared)))
        for i, client in enumerate(clients)
    ]
    for thread in work:
        thread.start()
    for thread in (*work, chief):
        thread.join(60)
        assert not thread.is_alive()
    first, second = results.read_all(tmp_path / "alone"), results.read_all(tmp_path / "shared")
    assert first == second and len(first) == 8
    for trial_id, trial in alone.trials.items():
        other = shared.trials[trial_id]
        assert (other.score, other.hyperparameters.values) == (trial.score, trial.hyperparameters.values)


def test_worker_looks_for_its_chief_beside_the_clusters_web_proxy(tmp_path, network, monkeypatch):
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    oracle = oracle_of(tmp_path)
    chief = threading.Thread(target=service.serve, args=(oracle, 30, lambda: None))
    chief.start()
    try:
        assert service.Client(lambda: False, 5).wait()
    finally:
        oracle.stopped = True
        chief.join(20)


def test_chief_of_a_sweep_that_is_done_ends_without_workers(tmp_path, network):
    worker.search(oracle := oracle_of(tmp_path), "a", run_for(oracle))
    chief = threading.Thread(target=service.serve, args=(oracle_of(tmp_path), 30, lambda: None))
    chief.start()
    chief.join(20)
    assert not chief.is_alive()


def test_late_worker_of_a_sweep_that_has_ended_goes_home(network, monkeypatch):
    monkeypatch.setattr(service, "_FIRST_CALL", 0.5)
    assert service.Client(lambda: True, 60).create_trial("worker1").status == "STOPPED"


def test_missing_chief_is_told(network):
    with pytest.raises(InputError, match=r"no chief answered at 127.0.0.1:\d+ for 0.01 minutes"):
        service.Client(lambda: False, 0.6).create_trial("worker1")


def test_port_that_is_taken_is_told(tmp_path, network):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(os.environ["KERASTUNER_ORACLE_PORT"])))
        taken.listen()
        with pytest.raises(InputError, match="the chief cannot listen at 127.0.0.1"):
            service.serve(oracle_of(tmp_path), 30, lambda: None)


def test_role_is_read_from_keras_tuners_variables(monkeypatch, network):
    assert service.role() == "chief"
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "worker3")
    assert service.role() == "worker"
    monkeypatch.delenv("KERASTUNER_ORACLE_PORT")
    with pytest.raises(InputError, match="set KERASTUNER_ORACLE_PORT"):
        service.role()
    monkeypatch.delenv("KERASTUNER_ORACLE_IP")
    with pytest.raises(InputError, match="set KERASTUNER_ORACLE_IP"):
        service.role()
    monkeypatch.delenv("KERASTUNER_TUNER_ID")
    assert service.role() == "single"


def test_two_workers_of_one_name_are_told(tmp_path):
    from tfmisr.tuning.runner import TrialReassigned

    oracle = oracle_of(tmp_path)

    def run(trial_id):
        raise TrialReassigned(f"trial {trial_id} is run by other:1")

    with pytest.raises(InputError, match="trial 0 is run by other:1 under this KERASTUNER_TUNER_ID, a; give each"):
        worker.search(oracle, "a", run)


def test_chief_that_does_not_share_the_folder_says_so(tmp_path, monkeypatch):
    oracle = oracle_of(tmp_path)
    monkeypatch.setattr(recoverable_oracle.time, "sleep", lambda seconds: None)
    oracle.end_trial(oracle.create_trial("a"))
    assert "is it the workers' folder too?" in oracle.trials["0"].message


def test_max_trials_may_grow(tmp_path):
    oracle = oracle_of(tmp_path, max_trials=1)
    end(oracle, oracle.create_trial("a"), 30.0)
    assert oracle.create_trial("a").status == "STOPPED"
    again = oracle_of(tmp_path, max_trials=2)
    assert again.create_trial("a").trial_id == "1"
    assert dataclasses.replace(again.sweep, max_trials=None).identity() == again.sweep.identity()
