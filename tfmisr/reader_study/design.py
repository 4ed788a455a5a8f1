"""The design of a reader study: cases, arms, questions, order, display and analysis plan, as one table each."""

import dataclasses
import itertools
import pathlib

from tfmisr.edge.deprecation import renamed
from tfmisr.reader_study import rules


@dataclasses.dataclass(frozen=True)
class Cases:
    """`[cases]`: which images. Relative paths are relative to the study file's folder.

    Attributes:
        count: Number of analyzed cases.
        training: Number of further cases for the training block.
        dataset: Dataset's name or folder, as `python -m tfmisr.fit` takes it; excludes `files`.
        files: Image files, or patterns with `*`; excludes `dataset`.
        split: Split of the dataset.
        data_dir: Folder of the prepared datasets.
        manual_dir: Folders with the dataset's source files.
        patient_pattern: For `files` and for a folder of images: regular expression with one group that matches the
            patient in a file's name. Without it the Patient ID (0010,0020) of DICOM files identifies the patient.
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
    """`[degradation]`: how the low-resolution image is generated; see `tfmisr.degradations.make`.

    Attributes:
        degradation: Name of the downsampling.
        blur_sigma: Standard deviation of the Gaussian blur, in pixels of the reference.
        noise_std: Standard deviation of the noise, in units of the intensity range [0, 1].
        quantize_lr: Whether the low-resolution image is rounded to the gray levels of its source.
    """

    degradation: str = "bicubic"
    blur_sigma: float = 0.0
    noise_std: float = 0.0
    quantize_lr: bool = True


@dataclasses.dataclass(frozen=True)
class Arm:
    """`[[arms]]`: one way to obtain the high-resolution image.

    Attributes:
        name: Label for the analysis; readers never see it.
        model: An upscaler as `tfmisr.inference.upscalers.load` takes it; or `reference` (before: `truth`, which still
            works and which is stored): the full-resolution image itself, as a hidden anchor.
    """

    name: str
    model: str

    def __post_init__(self):
        object.__setattr__(self, "model", rules.stored_name(self.model))


@dataclasses.dataclass(frozen=True)
class Question:
    """`[[questions]]`: asked about every image, answered on an ordinal scale from 1 to 5.

    Attributes:
        key: One lower-case word, for the tables.
        text: The question as the reader sees it.
        anchors: Verbal anchors of 1, 2, 3, 4 and 5.
    """

    key: str
    text: str
    anchors: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Preference:
    """`[preference]`: paired comparison of two images of one case, after the ratings; left, right or none is better.

    Attributes:
        text: The question as the reader sees it.
        pairs: Compared pairs of arms; all pairs by default.
    """

    text: str
    pairs: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class Order:
    """`[order]`: constraints on each reader's randomized order.

    Attributes:
        repeats: Share of the rated images that are shown a second time, for intra-reader agreement.
        repeat_distance: Minimum number of trials between a trial and its repeat.
        min_distance: Minimum number of trials between two images of one case.
        sessions: Number of sessions over which the arms of a case are spread.
        washout_days: Minimum number of days between two sessions.
    """

    repeats: float = 0.15
    repeat_distance: int = 8
    min_distance: int = 3
    sessions: int = 1
    washout_days: float = 0.0


@dataclasses.dataclass(frozen=True)
class Display:
    """`[display]`: layout of the reading page.

    Attributes:
        panes: Images side by side: `rated`, and beside it `lr` (low-resolution source, pixels as squares; not with an
            arm `nearest`, which looks exactly like it) and `reference` (before: `truth`, which still works and which is
            stored; the full-resolution image).
        interpolation: `smooth` (bilinear) or `nearest` between pixels, the same for all readers.
    """

    panes: tuple[str, ...] = ("rated",)
    interpolation: str = "smooth"

    def __post_init__(self):
        object.__setattr__(self, "panes", tuple(map(rules.stored_name, self.panes)))


@dataclasses.dataclass(frozen=True)
class Reading:
    """`[reading]`: rules of the reading sessions.

    Attributes:
        allow_back: Whether the last answer may be revised; the audit log keeps the previous one.
        minimum_seconds: Answers given in less time are flagged `too_fast`.
        break_minutes: Reading time after which the page suggests a break; 0: never.
    """

    allow_back: bool = False
    minimum_seconds: float = 2.0
    break_minutes: float = 30.0


@dataclasses.dataclass(frozen=True)
class Analysis:
    """`[analysis]`: the analysis plan, fixed before the first answer.

    Attributes:
        reference: Name of the arm that the others are compared with; by default the one whose model is `reference`.
        primary: Key of the question of the primary endpoint; the first question by default.
        margins: Question key to non-inferiority margin, in points of the scale.
        plan: Further plans in prose.
    """

    reference: str | None = None
    primary: str | None = None
    margins: dict[str, float] = dataclasses.field(default_factory=dict)
    plan: str = ""


@dataclasses.dataclass(frozen=True)
class Design:
    """A complete study file.

    Attributes:
        title: Title, as readers see it.
        cases: `[cases]`.
        arms: `[[arms]]`, two or more.
        questions: `[[questions]]`, one or more.
        scale: Upsampling factor: 2, 3, 4 or 8.
        seed: Seed of case selection, noise and randomization.
        instructions: Instructions, as readers see them; paragraphs are separated by empty lines.
        degradation: `[degradation]`.
        preference: `[preference]`, or `None` without paired comparisons.
        order: `[order]`.
        display: `[display]`.
        reading: `[reading]`.
        analysis: `[analysis]`.
        folder: Folder that relative paths are relative to; not part of the study.

    Raises:
        InputError: A value that no study can have; see `tfmisr.reader_study.rules.check`.
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
        """The pairs of arms that are compared side by side; empty without paired comparisons."""
        if self.preference is None:
            return ()
        return self.preference.pairs or tuple(itertools.combinations([arm.name for arm in self.arms], 2))

    @property
    def reference(self) -> str | None:
        """Name of the reference arm, or `None` without one."""
        hidden_anchor = next((arm.name for arm in self.arms if arm.model == rules.STORED_REFERENCE), None)
        return self.analysis.reference or hidden_anchor


__getattr__ = renamed(
    __name__,
    read="tfmisr.reader_study.study_file.read",
    from_dict="tfmisr.reader_study.study_file.from_dict",
)
