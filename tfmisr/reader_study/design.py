"""The study file: what is judged, how, by which rules; read strictly and checked before anything is computed."""

import dataclasses
import itertools
import math
import pathlib

from tfmisr.edge.errors import InputError, hint
from tfmisr.reader_study import rules


@dataclasses.dataclass(frozen=True)
class Cases:
    """`[cases]`: which images. Relative paths count from the study file.

    Attributes:
        count: Judged cases.
        training: Cases of the training block, other ones.
        dataset: Dataset's name or folder, as `python -m tfmisr.fit` takes it; or
        files: Image files; `*` in a name stands for many.
        split: Split of the dataset.
        data_dir: Where prepared datasets are kept.
        manual_dir: Folders with the dataset's source files.
        patient_pattern: For files and for a folder of images: regular expression with one group, the patient's part of
            a file's name; without it the Patient ID (0010,0020) of DICOM files counts.
    """

    count: int
    training: int = 1
    dataset: str | None = None
    files: tuple[str, ...] = ()
    split: str = "test"
    data_dir: str | None = None
    manual_dir: tuple[str, ...] = ()
    patient_pattern: str | None = None


@dataclasses.dataclass(frozen=True)
class Degradation:
    """`[degradation]`: how the low-resolution image is made; see `tfmisr.degradations.make`."""

    degradation: str = "bicubic"
    blur_sigma: float = 0.0
    noise_std: float = 0.0
    quantize_lr: bool = True


@dataclasses.dataclass(frozen=True)
class Arm:
    """`[[arms]]`: something that makes an image.

    Attributes:
        name: For the analysis; no reader ever sees it.
        model: What `tfmisr.inference.upscalers.load` takes, or `truth`: the image itself, a hidden anchor.
    """

    name: str
    model: str


@dataclasses.dataclass(frozen=True)
class Question:
    """`[[questions]]`: asked of every image, answered by 1 to 5.

    Attributes:
        key: One lower-case word, for the tables.
        text: What the reader is asked.
        anchors: What 1, 2, 3, 4 and 5 mean.
    """

    key: str
    text: str
    anchors: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Preference:
    """`[preference]`: two images of one case side by side, after the ratings; left, right or none is better.

    Attributes:
        text: What the reader is asked.
        pairs: Which arms against which; all by default.
    """

    text: str
    pairs: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class Order:
    """`[order]`.

    Attributes:
        repeats: Share of the judged images that come a second time, for each reader's agreement with themselves.
        repeat_distance: Trials at least between the two.
        min_distance: Trials at least from one image of a case to the next.
        sessions: The arms of a case are spread over so many sessions.
        washout_days: Days from the end of a session to the next one.
    """

    repeats: float = 0.15
    repeat_distance: int = 8
    min_distance: int = 3
    sessions: int = 1
    washout_days: float = 0.0


@dataclasses.dataclass(frozen=True)
class Display:
    """`[display]`.

    Attributes:
        panes: What stands side by side: `rated`, and `lr` (the low-resolution source, pixels as squares) and `truth`
            (the full-resolution image) as references.
        interpolation: `smooth` or `nearest` between pixels, for all readers alike.
    """

    panes: tuple[str, ...] = ("rated",)
    interpolation: str = "smooth"


@dataclasses.dataclass(frozen=True)
class Reading:
    """`[reading]`.

    Attributes:
        allow_back: The last answer may be changed; the old one stays in the audit log.
        minimum_seconds: Answers that took less are marked `too_fast`.
        break_minutes: Reading time after which a break is proposed; 0: never.
    """

    allow_back: bool = False
    minimum_seconds: float = 2.0
    break_minutes: float = 30.0


@dataclasses.dataclass(frozen=True)
class Analysis:
    """`[analysis]`: fixed before the first answer.

    Attributes:
        reference: Arm that the others are compared with; the `truth` by default.
        primary: Question of the primary comparison; the first by default.
        margins: Question to non-inferiority margin, in categories.
        plan: Anything else that is planned, in words.
    """

    reference: str | None = None
    primary: str | None = None
    margins: dict[str, float] = dataclasses.field(default_factory=dict)
    plan: str = ""


@dataclasses.dataclass(frozen=True)
class Design:
    """A whole study file.

    Attributes:
        folder: Where relative paths count from; not part of the study.
    """

    title: str
    cases: Cases
    arms: tuple[Arm, ...]
    questions: tuple[Question, ...]
    scale: int = 4
    seed: int = 0
    instructions: str = ""
    degradation: Degradation = Degradation()
    preference: Preference | None = None
    order: Order = Order()
    display: Display = Display()
    reading: Reading = Reading()
    analysis: Analysis = Analysis()
    folder: pathlib.Path = dataclasses.field(default=pathlib.Path(), compare=False)

    def __post_init__(self):
        rules.check(self)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The pairs of arms that are put side by side."""
        if self.preference is None:
            return ()
        return self.preference.pairs or tuple(itertools.combinations([arm.name for arm in self.arms], 2))

    @property
    def reference(self) -> str | None:
        """Name of the arm that the others are compared with."""
        truth = next((arm.name for arm in self.arms if arm.model == rules.TRUTH), None)
        return self.analysis.reference or truth


def read(path) -> Design:
    """Reads a study file (TOML).

    Raises:
        InputError: No such file, no TOML, or something in it that no study can have.
    """
    path = pathlib.Path(path)
    try:
        values = _toml().loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"expected a study file at {path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path} is no TOML file: {error}") from error
    return from_dict(values, str(path), path.parent)


def _toml():
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        try:
            import tomli as tomllib
        except ModuleNotFoundError as error:
            raise InputError("reading a study file needs tomli. Run: pip install 'tfmisr[study]'") from error
    return tomllib


def from_dict(values: dict, where: str, folder=pathlib.Path()) -> Design:
    """Returns the design that a study file's values say.

    Args:
        values: As TOML gives them.
        where: Where they come from, for the error.
        folder: Where relative paths count from.

    Raises:
        InputError: An unknown, missing or impossible value.
    """
    values = dict(values)
    for name, kind in _TABLES.items():
        if name in values:
            values[name] = _table(kind, values[name], f"{where}: [{name}]")
    for name, kind in _LISTS.items():
        if not isinstance(values.get(name), list) or not values[name]:
            raise InputError(f"{where}: expected at least one [[{name}]]. Received: {values.get(name)!r}")
        values[name] = tuple(_table(kind, v, f"{where}: [[{name}]] {i}") for i, v in enumerate(values[name], 1))
    known = {field.name for field in dataclasses.fields(Design)} - {"folder"}
    _check_names(values, known, where)
    _check_present(Design, values, where)
    return Design(**values, folder=pathlib.Path(folder))


_TABLES = {
    "cases": Cases,
    "degradation": Degradation,
    "preference": Preference,
    "order": Order,
    "display": Display,
    "reading": Reading,
    "analysis": Analysis,
}
_LISTS = {"arms": Arm, "questions": Question}


def _table(kind, values, where):
    if not isinstance(values, dict):
        raise InputError(f"{where} must be a table. Received: {values!r}")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    _check_names(values, fields, where)
    _check_present(kind, values, where)
    return kind(**{name: _value(fields[name].type, value, f"{where} {name}") for name, value in values.items()})


def _check_names(values, known, where):
    for name in values:
        if name not in known:
            raise InputError(f"{where} has what no study has: {name}{hint(name, known)}")


def _check_present(kind, values, where):
    for field in dataclasses.fields(kind):
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if needed and field.name not in values:
            raise InputError(f"{where}: expected {field.name}, found none")


def _value(kind, value, where):
    if kind == tuple[str, ...] and _strings(value):
        return tuple(value)
    if kind == tuple[tuple[str, str], ...] and isinstance(value, list):
        if all(_strings(pair) and len(pair) == 2 for pair in value):
            return tuple(map(tuple, value))
    if kind == dict[str, float] and isinstance(value, dict) and all(map(_finite, value.values())):
        return {key: float(number) for key, number in value.items()}
    if kind is float and _finite(value):
        return float(value)
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind is bool and isinstance(value, bool) or kind in (str, str | None) and isinstance(value, str):
        return value
    raise InputError(f"{where} must be {_SAID.get(kind, 'text')}. Received: {value!r}")


_SAID = {
    tuple[str, ...]: "a list of texts",
    tuple[tuple[str, str], ...]: "a list of pairs of arms",
    dict[str, float]: "a table of numbers",
    float: "a number",
    int: "a whole number",
    bool: "true or false",
}


def _strings(value):
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _finite(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
