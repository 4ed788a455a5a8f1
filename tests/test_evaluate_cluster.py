"""An evaluation in several processes or on a cluster: the same files, byte for byte, or a named error."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
from synthetic import ArraySource, smooth_images

from tfmisr import cluster, data, evaluate, metrics
from tfmisr.edge.errors import InputError
from tfmisr.evaluation import distributed, image_scores

FILES = ("metrics.json", "per_image.csv", "table.md", "montage.png")
MEASURES = [row.name for row in metrics.rows() if not (row.weights or row.per_set or row.half_width)]


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Eight images of two splits; `--split all` counts through both."""
    found = ArraySource(tmp_path, {"validation": smooth_images(3, 80, 2), "test": smooth_images(5, 80, 1)})
    monkeypatch.setattr(data, "load_for", lambda *args: found)
    return found


def files(folder, *flags):
    evaluate.main(["nearest", "back_projection", "--scale", "2", "--output", str(folder), *map(str, flags)])
    return {name: (folder / name).read_bytes() for name in FILES}


def run_here(monkeypatch, change=lambda value: value):
    """Replaces the cluster by this process; `change` is what a worker does differently."""

    def run(client, function, jobs, **limits):
        assert function == distributed.FUNCTION
        for key, payload in jobs:
            yield cluster.Outcome(key, change(json.loads(json.dumps(distributed.score_images(payload)))))

    monkeypatch.setattr(cluster, "run", run)


def test_s01_files_of_two_processes_and_of_a_cluster_are_those_of_one_process(source, tmp_path):
    flags = ["--split", "all", "--measures", *MEASURES]
    expected = files(tmp_path / "one", *flags)
    assert files(tmp_path / "two", *flags, "--processes", 2) == expected
    assert files(tmp_path / "dask", *flags, "--cluster", "local:1") == expected


def test_s01_images_of_max_images_and_set_level_metrics_are_merged_exactly(source, tmp_path, monkeypatch):
    import keras

    keras.utils.set_random_seed(0)
    keras.Sequential([keras.Input((None, None, 1)), keras.layers.Conv2D(3, 5)]).save(tmp_path / "own.keras")
    flags = ["--measures", "psnr", "fid", "kid", "--features", tmp_path / "own.keras", "--max_images", 3]
    expected = files(tmp_path / "one", *flags)
    assert json.loads(expected["metrics.json"])["models"]["nearest"]["fid"] > 0
    run_here(monkeypatch)
    assert files(tmp_path / "two", *flags, "--processes", 2) == expected


def task(source, **changes):
    made = distributed.EvaluationTask(
        [["bicubic", "bicubic", ""]], str(source.folder), ["test"], 1, "uint8", {"scale": 2}, 2, ["psnr"]
    )
    return dataclasses.replace(made, **changes)


def test_a_worker_that_reads_other_pixels_is_an_error_and_not_a_score(source, monkeypatch):
    data.pipeline.cache_of(source, "test")
    run_here(monkeypatch, lambda value: [[index, "0" * 16, *rest] for index, _, *rest in value])
    with pytest.raises(InputError, match="a worker reads other images than this machine"):
        list(task(source).run(None, [0]))


def test_a_worker_with_other_weights_is_an_error(source):
    data.pipeline.cache_of(source, "test")
    with pytest.raises(InputError, match="a worker has other weights of bicubic"):
        task(source, models=[["bicubic", "bicubic", "1" * 64]]).scorer()


def test_a_worker_without_the_shared_folder_says_what_must_be_shared(tmp_path, source):
    with pytest.raises(InputError, match="--data_dir must be a folder that all machines share"):
        task(source, folder=str(tmp_path / "elsewhere")).scorer()


def test_scores_come_in_the_order_of_the_images_whatever_finishes_first(source, monkeypatch, tmp_path):
    expected = files(tmp_path / "one")
    monkeypatch.setattr(distributed, "_PIXELS_PER_JOB", 1)
    run_here(monkeypatch)
    in_order = cluster.run

    def reversed_run(*args, **limits):
        return reversed(list(in_order(*args, **limits)))

    monkeypatch.setattr(cluster, "run", reversed_run)
    assert files(tmp_path / "two", "--processes", 2) == expected


def test_jobs_hold_about_a_megapixel_and_each_image_once(tmp_path):
    images = {"test": [np.zeros((512, 512, 1), np.uint8)] * 9 + [np.zeros((8, 8, 1), np.uint8)] * 70}
    made = ArraySource(tmp_path, images)
    data.pipeline.cache_of(made, "test")
    jobs = [payload["indices"] for _, payload in task(made).jobs(range(79))]
    assert [len(part) for part in jobs] == [4, 4, 64, 7]  # 4 x 512 x 512 = 2**20
    assert list(itertools.chain(*jobs)) == list(range(79))


def test_an_index_counts_through_the_splits(source):
    caches = [data.pipeline.cache_of(source, split) for split in source.splits]
    assert [image_scores.located(caches, i) for i in (0, 2, 3, 7)] == [
        (caches[0], 0),
        (caches[0], 2),
        (caches[1], 0),
        (caches[1], 4),
    ]


def test_an_image_that_cannot_be_scored_is_named_and_nothing_is_written(tmp_path, monkeypatch):
    made = ArraySource(tmp_path, {"test": [*smooth_images(2, 64, 1), *smooth_images(1, 12, 1)]})
    monkeypatch.setattr(data, "load_for", lambda *args: made)
    with pytest.raises(InputError, match="images must be larger than 15 pixels.*Received: test_2 with 12x12"):
        evaluate.main(["bicubic", "--scale", "2", "--processes", "2", "--output", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "flags,message",
    [
        (["--processes", "0"], "processes must be at least 1. Received: 0"),
        (["--cluster", "localhost"], "cluster must be tcp://HOST:PORT.*Received: localhost"),
        (["--cluster", "local:2", "--retries", "-1"], "retries must be at least 0"),
        (["--cluster", "slurm:nowhere.yaml"], "expected the configuration of dask-jobqueue at nowhere.yaml"),
    ],
)
def test_a_mistake_in_the_flags_is_reported_before_anything_is_read(flags, message, monkeypatch):
    monkeypatch.setattr(data, "load_for", lambda *args: pytest.fail("the dataset was read"))
    with pytest.raises(InputError, match=message):
        evaluate.main(["bicubic", *flags])
