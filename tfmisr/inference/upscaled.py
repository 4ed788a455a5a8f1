"""The result of upscaling one file, as it passes between processes."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Upscaled:
    """One upscaled file; as text the line for the log.

    Attributes:
        summary: Line for the log.
        outcome: Of the applicability check, one of `tfmisr.inference.examination.OUTCOMES`; empty without.
        warning: Sentence on what the user should know; empty without.
        row: Row of the table of `--report`; `None` without.
    """

    summary: str
    outcome: str = ""
    warning: str = ""
    row: dict | None = None

    def __str__(self) -> str:
        return self.summary
