"""Scores the images of an evaluation in other processes, of this machine or of a Dask cluster.

Workers read the models and the decoded images from a file system that all of them share, and return numbers. The client
compares the hash of each image and of each network with its own: a worker with other files is an error.
"""

import argparse
import base64
import contextlib
import dataclasses
import functools
import json
import pathlib
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from tfmisr import classical
from tfmisr.edge.errors import InputError
from tfmisr.edge.text import counted
from tfmisr.evaluation import image_scores
from tfmisr.evaluation.protocol import ImagesHash

if typing.TYPE_CHECKING:
    from tfmisr.cluster.connection import Connection, Options
    from tfmisr.data import Source
    from tfmisr.data.pixel_cache import PixelCache
    from tfmisr.edge.upscaler import Upscaler

FUNCTION = "tfmisr.evaluation.distributed:score_images"

# Images of a job: enough that handing it out costs little, few enough that a lost one does.
_PIXELS_PER_JOB, _MOST_PER_JOB = 1 << 20, 64


@dataclasses.dataclass(frozen=True)
class EvaluationTask:
    """All that the scores of an image depend on besides its index, as plain values.

    Attributes:
        models: Name in the tables, name or path for `tfmisr.inference.upscalers.load`, and SHA-256 of the weights of
            each model.
        folder: Folder of the prepared dataset, whose images are decoded already.
        splits: Its splits, in order.
        channels: Channels of every image.
        dtype: Type of the pixels, `uint8` or `uint16`.
        fields: `scale` and the configuration fields in `tfmisr.degradations.FIELDS`.
        crop_border: Pixels cut off at each edge.
        measures: Names of metrics.
        features: `.keras` file of the feature network of the set-level metrics; `None`: the standard network.
        features_range: Value range of its input.
        weights_dir: Folder of published weights.
    """

    models: list
    folder: str
    splits: list[str]
    channels: int
    dtype: str
    fields: dict
    crop_border: int
    measures: list[str]
    features: str | None = None
    features_range: str | None = None
    weights_dir: str | None = None

    @classmethod
    def of(
        cls,
        arguments: argparse.Namespace,
        source: "Source",
        fields: dict,
        measures: list[str],
        models: Iterable[tuple["Upscaler", str]],
    ) -> "EvaluationTask":
        """Returns the task of a command line.

        Args:
            arguments: Flags of `python -m tfmisr.evaluate`.
            source: Dataset of the images.
            fields: As of the class.
            measures: As of the class.
            models: Upscalers, and name or absolute path of each.
        """
        return cls(
            [[u.name, loadable, u.weights_sha256] for u, loadable in models],
            str(source.folder.absolute()),
            source.splits if arguments.split == "all" else [arguments.split],
            source.channels,
            source.dtype.name,
            fields,
            fields["scale"] if arguments.crop_border is None else arguments.crop_border,
            measures,
            _absolute(arguments.features),
            arguments.features_range,
            _absolute(arguments.weights_dir),
        )

    def caches(self) -> list["PixelCache"]:
        """Returns the decoded images of the splits.

        Raises:
            InputError: They are not there.
        """
        from tfmisr.data import pixel_cache

        folders = [pathlib.Path(self.folder, "tfmisr_pixels", split) for split in self.splits]
        for folder in folders:
            if not (folder / "index.npz").is_file():
                raise InputError(
                    f"a worker finds no decoded images at {folder}: --data_dir must be a folder that all machines share"
                )
        return [pixel_cache.PixelCache(folder, self.channels, np.dtype(self.dtype)) for folder in folders]

    def scorer(self) -> image_scores.Scorer:
        """Returns what scores an image by its index.

        Raises:
            InputError: A model or dataset is missing on this machine, or is another one.
        """
        from tfmisr import degradations
        from tfmisr.metrics import _features

        features = _features.from_file(self.features, self.features_range or "unit") if self.features else None
        return image_scores.Scorer(
            [self._upscaler(*model) for model in self.models],
            self.caches(),
            self.fields["scale"],
            degradations.of(self.fields),
            self.crop_border,
            self.measures,
            features,
            self.weights_dir,
        )

    def _upscaler(self, name, loadable, weights_sha256) -> "Upscaler":
        from tfmisr.inference import fitting, upscalers

        upscaler = fitting.load_fitted(classical.create(loadable) or upscalers.load(loadable), "", self.fields)
        if upscaler.weights_sha256 != weights_sha256:
            raise InputError(f"a worker has other weights of {name} at {loadable}: it must be the same file everywhere")
        return dataclasses.replace(upscaler, name=name)

    def jobs(self, indices: Sequence[int]) -> Iterator[tuple[str, dict]]:
        """Yields key and payload of jobs, each of some images that follow each other."""
        caches, task = self.caches(), json.dumps(dataclasses.asdict(self))
        part, pixels = [], 0
        for index in map(int, indices):
            cache, at = image_scores.located(caches, index)
            part.append(index)
            pixels += int(cache.shapes[at].prod())
            if pixels >= _PIXELS_PER_JOB or len(part) == _MOST_PER_JOB:
                yield str(part[0]), {"task": task, "indices": part}
                part, pixels = [], 0
        if part:
            yield str(part[0]), {"task": task, "indices": part}

    def run(
        self, client: "Connection", indices: Sequence[int], *, retries: int = 2, timeout: float | None = None
    ) -> Iterator[tuple[int, image_scores.ImageScores]]:
        """Scores images in other processes, and yields index and scores in order of completion.

        Args:
            client: From `tfmisr.cluster.connect`.
            indices: Indices of the images, counted through the splits.
            retries: How often images whose process ended are tried again.
            timeout: Seconds for the images of one job, or `None`.

        Raises:
            InputError: An image cannot be scored, or a worker reads other pixels.
        """
        from tfmisr import cluster

        caches = self.caches()
        for outcome in cluster.run(client, FUNCTION, self.jobs(indices), retries=retries, timeout=timeout):
            if outcome.error:
                tries = f" in {counted(outcome.tries, 'attempt')}" if outcome.quarantined else ""
                raise InputError(f"image {_named(caches, outcome.key)} cannot be scored{tries}: {outcome.error}")
            for index, digest, rows, vectors in outcome.value:
                if digest != _digest(caches, index, self.fields["scale"]):
                    raise InputError(
                        f"a worker reads other images than this machine in {self.folder}: --data_dir must be a folder "
                        "that all machines share"
                    )
                yield index, image_scores.ImageScores(rows, {name: _array(*vector) for name, *vector in vectors})


@contextlib.contextmanager
def distribution(arguments: argparse.Namespace, options: "Options", task: EvaluationTask) -> Iterator[Callable | None]:
    """Yields the `distribute` of `tfmisr.evaluation.scoring.evaluate`; `None` for this process.

    Args:
        arguments: Flags of the command: `cluster`, `processes`, `retries`, `timeout`.
        options: How to connect.
        task: What is scored.

    Raises:
        InputError: The cluster cannot be reached.
    """
    if not arguments.cluster and arguments.processes == 1:
        yield None
        return
    from tfmisr import cluster

    with cluster.connect(arguments.cluster or "", options) as client:
        yield functools.partial(task.run, client, retries=arguments.retries, timeout=arguments.timeout)


def score_images(payload: dict) -> list[list]:
    """Scores the images of one job of `EvaluationTask.jobs`.

    Args:
        payload: `task`, an `EvaluationTask` as JSON, and `indices`.

    Returns:
        For each image its index, hash, rows, and vectors as name, type and base64 of the bytes.
    """
    scorer = _scorer(payload["task"])
    results = []
    for index in payload["indices"]:
        scores = scorer(index)
        vectors = [
            [name, vector.dtype.str, base64.b64encode(vector.tobytes()).decode()]
            for name, vector in scores.vectors.items()
        ]
        results.append([index, _digest(scorer.caches, index, scorer.scale), list(map(_plain, scores.rows)), vectors])
    return results


@functools.lru_cache(maxsize=1)  # networks are loaded once in a process
def _scorer(task: str) -> image_scores.Scorer:
    return EvaluationTask(**json.loads(task)).scorer()


def _digest(caches, index, scale) -> str:
    digest = ImagesHash()
    digest.add(*image_scores.reference(caches, index, scale))
    return digest.hexdigest()


def _plain(row: dict) -> dict:
    return {key: value.item() if isinstance(value, np.generic) else value for key, value in row.items()}


def _array(dtype: str, content: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(content), np.dtype(dtype))


def _absolute(path: str | None) -> str | None:
    return path and str(pathlib.Path(path).expanduser().absolute())


def _named(caches, key) -> str:
    cache, index = image_scores.located(caches, int(key))
    return cache.ids[index]
