"""Prepares a large dataset in parts: a killed preparation resumes with those that are missing, and workers make them.

A part is a ZIP file (stored, not compressed again) with the PNGs of some source files in their order, and `index.json`
with what else their examples hold. Its name is a digest of its sources, and it appears atomically. When all parts are
there, TFDS shuffles and writes their examples as it would without parts: the same examples in the same order. Parts are
removed with the last step, so until then the disk holds every image twice.
"""

import dataclasses
import functools
import hashlib
import importlib
import json
import pathlib
import sys
import time
import typing
import zipfile
from collections.abc import Callable, Iterable, Iterator

from tqdm import tqdm

from tfmisr.edge.errors import InputError
from tfmisr.edge.files import atomic_write, remove_orphaned_temporaries
from tfmisr.edge.text import counted
from tfmisr.progress import bar

if typing.TYPE_CHECKING:
    from tfmisr.cluster.connection import Connection

_FORMAT = 1
_INDEX = "index.json"
_SAMPLED = 8  # images, for the estimate
_WORTH_AN_ESTIMATE = 100  # images

Runner = Callable[[list[dict]], Iterable[str]]


@dataclasses.dataclass(frozen=True)
class Part:
    """Some source files that are prepared together.

    Attributes:
        maker: Import path `module:name` of a function of `sources` and a number of threads, that yields pairs: the PNG
            of an image and its `split`, `key`, `max_val` and `patient` and, optionally, a `row`; or `None` and the
            reason why a file is left out, in any form.
        sources: Plain values; `images` is a list with one item per source file.
        identity: Plain values that the part's content depends on.
        random_access: Whether the first images can be read without reading others before them.
    """

    maker: str
    sources: dict
    identity: typing.Any
    random_access: bool = True

    @property
    def name(self) -> str:
        """File name."""
        digest = hashlib.sha256(json.dumps([_FORMAT, self.maker, self.identity]).encode(errors="surrogateescape"))
        return f"{digest.hexdigest()[:24]}.zip"

    def __len__(self):
        return len(self.sources["images"])


class Staging:
    """The parts of a dataset in a folder.

    Args:
        folder: Folder of the parts, created when the first is made; shared with the workers.
        parts: All parts, in the order of the examples.
    """

    def __init__(self, folder: pathlib.Path, parts: list[Part]):
        self.folder, self.parts = folder.absolute(), parts
        self._indexes: dict[str, list[dict]] = {}

    def missing(self) -> list[Part]:
        """Returns the parts that are not there; a damaged one is removed and counts as missing."""
        remove_orphaned_temporaries(self.folder)
        return [part for part in self.parts if not self._intact(part)]

    def _intact(self, part) -> bool:
        path = self.folder / part.name
        if not path.is_file():
            return False
        try:
            with zipfile.ZipFile(path) as file:
                self._indexes[part.name] = json.loads(file.read(_INDEX))
        except (zipfile.BadZipFile, KeyError, ValueError, EOFError):
            path.unlink()
            return False
        return True

    def complete(self, run: Runner) -> Iterator[list[dict]]:
        """Makes the missing parts, and yields the index of each part, those that were there first.

        Args:
            run: Makes the parts of some payloads of `make`, and yields their names: `here`, or that of `on_cluster`.

        Raises:
            InputError: A source cannot be read at all.
        """
        missing = self.missing()
        names = {part.name: part for part in self.parts}
        yield from map(self._index, names.keys() - {part.name for part in missing})
        self.folder.mkdir(parents=True, exist_ok=True)
        payloads = [
            {"folder": str(self.folder), "name": p.name, "maker": p.maker, "sources": p.sources} for p in missing
        ]
        with bar(total=sum(map(len, missing)), desc="preparing", unit=" images", leave=False) as progress:
            for name in run(payloads):
                if not self._intact(names[name]):
                    raise InputError(
                        f"a worker has written a part that is not in {self.folder}: --data_dir must be a folder that "
                        "all machines share"
                    )
                progress.update(len(names[name]))
                yield self._index(name)

    def _index(self, name) -> list[dict]:
        return self._indexes[name]

    def examples(self, split: str) -> Iterator[tuple[dict, bytes]]:
        """Yields what `Part.maker` yielded for the images of a split, in the order of the parts.

        Raises:
            InputError: A part is damaged.
        """
        for part in self.parts:
            index = self._index(part.name)
            numbers = [n for n, entry in enumerate(index) if entry.get("split") == split]
            if numbers:
                with zipfile.ZipFile(self.folder / part.name) as file:
                    for n in numbers:
                        yield index[n], self._read(file, n)

    def _read(self, file, number) -> bytes:
        try:
            return file.read(str(number))  # compares the CRC
        except (zipfile.BadZipFile, KeyError, EOFError) as error:
            path = pathlib.Path(file.filename)
            path.unlink()
            raise InputError(
                f"{path} was damaged ({error}); start the same command again, which makes it again"
            ) from error

    def count(self, split: str) -> int:
        """Returns the number of images of a split."""
        return sum(entry.get("split") == split for part in self.parts for entry in self._index(part.name))


def make(payload: dict, threads: int = 1) -> str:
    """Makes one part, unless it is there, and returns its name; `tfmisr.cluster.run` calls it on workers.

    Args:
        payload: `folder`, `name`, and `maker` and `sources` of a `Part`.
        threads: Threads that decode and encode images.
    """
    path = pathlib.Path(payload["folder"], payload["name"])
    if path.is_file():
        return path.name
    if not path.parent.is_dir():
        raise InputError(f"a worker finds no folder {path.parent}: --data_dir must be a folder that all machines share")
    index = []
    with atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w") as file:
        for png, entry in _maker(payload["maker"])(payload["sources"], threads):
            if png is not None:
                file.writestr(str(len(index)), png)
            index.append(entry)
        file.writestr(_INDEX, json.dumps(index))
    return path.name


def _maker(path: str) -> Callable:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def here(payloads: list[dict], threads: int = 1) -> Iterator[str]:
    """Makes parts in this process, one after the other; arguments as of `make`."""
    for payload in payloads:
        yield make(payload, threads)


def on_cluster(client: "Connection", retries: int = 2, timeout: float | None = None) -> Runner:
    """Returns a function that makes parts on workers; arguments as of `tfmisr.cluster.run`."""
    return functools.partial(_on_cluster, client, retries, timeout)


def _on_cluster(client, retries, timeout, payloads) -> Iterator[str]:
    from tfmisr import cluster

    jobs = ((payload["name"], payload) for payload in payloads)
    for outcome in cluster.run(client, f"{__name__}:make", jobs, retries=retries, timeout=timeout):
        if outcome.error:
            tries = f" in {counted(outcome.tries, 'attempt')}" if outcome.quarantined else ""
            raise InputError(f"a part of the images cannot be prepared{tries}: {outcome.error}")
        yield outcome.value


def estimate(missing: list[Part], total: int) -> str:
    """Returns in one line what the preparation will take, measured on a few images; empty for a few images.

    Args:
        missing: Parts that are to be made.
        total: Images of all parts.
    """
    images = sum(map(len, missing))
    sampled = _sample([part for part in missing if part.random_access] or missing[:1])
    if images < _WORTH_AN_ESTIMATE or not sampled:
        return ""
    start, sizes = time.perf_counter(), []
    for part in sampled:
        sizes += [len(png) for png, _ in _maker(part.maker)(part.sources, 1) if png is not None]
    count = sum(map(len, sampled))
    seconds = (time.perf_counter() - start) / count * images
    size = sum(sizes) / max(len(sizes), 1) * total / 1e9
    return (
        f"{counted(images, 'image')} to prepare, {seconds / images * 1e3:.0f} ms each on one core ({count} measured): "
        f"{_duration(seconds)} of one core; {size:,.1f} GB of disk, twice that until it is done"
    )


def report(name: str, staged: Staging, missing: list[Part]) -> None:
    """Writes to stderr how many parts are there already, and what the others will take.

    Args:
        name: Name of the dataset.
        staged: The parts.
        missing: Those that are to be made.
    """
    if there := len(staged.parts) - len(missing):
        tqdm.write(f"{name}: resumed, {there:,} of {counted(len(staged.parts), 'part')} are there", file=sys.stderr)
    if expected := estimate(missing, sum(map(len, staged.parts))):
        tqdm.write(f"{name}: {expected}", file=sys.stderr)


def _sample(parts: Iterable[Part]) -> list[Part]:
    """Returns small parts of the first images of parts that are evenly spaced."""
    parts = list(parts)
    chosen = parts[:: max(1, len(parts) // 4)][:4]
    each = -(-_SAMPLED // max(len(chosen), 1))
    return [dataclasses.replace(p, sources={**p.sources, "images": p.sources["images"][:each]}) for p in chosen]


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.1f} minutes"
