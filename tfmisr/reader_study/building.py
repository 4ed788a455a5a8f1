"""Builds a frozen study from a study file: the images of all arms and cases, resampled to a common grid.

All pixel files of a case have the same length, so that neither size nor transfer time reveals the arm.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterator

import numpy as np

import tfmisr
from tfmisr import cli, degradations
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import atomic_write, remove_stale_temporaries, temporary_name, write_text
from tfmisr.edge.upscaler import Upscaler
from tfmisr.inference import upscalers
from tfmisr.progress import bar
from tfmisr.reader_study import cases, frozen, ordering, rules
from tfmisr.reader_study.case import Case
from tfmisr.reader_study.design import Arm, Design
from tfmisr.reader_study.rules import STORED_REFERENCE

# Readers whose order is randomized on trial before anything is computed.
_TRIAL_ORDERS = 20


def build(design: Design, folder: str | os.PathLike) -> frozen.Study:
    """Writes a study folder atomically and returns the study.

    Args:
        design: The design, as `tfmisr.reader_study.study_file.read` returns it.
        folder: A new folder: a frozen study is never changed.

    Raises:
        InputError: The folder exists; a model or a case does not fit the design; an arm equals the low-resolution pane;
            or no order satisfies its constraints.
    """
    folder = pathlib.Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"a study is frozen once it is built; choose a new folder. Received: {folder}")
    cli.check_writable(folder)
    _check_order(design)
    upscalers_of_arms = {arm.name: _upscaler(arm, design) for arm in design.arms}
    remove_stale_temporaries(folder.parent.glob(temporary_name(folder, "*").name))
    temporary = temporary_name(folder)
    try:
        temporary.mkdir(mode=0o700, parents=True)
        (temporary / frozen.PIXELS).mkdir()
        values = _description(design, upscalers_of_arms)
        collected, values["patients"] = cases.collect(design.cases, design.scale, design.seed, design.folder)
        values["cases"] = list(_cases(design, upscalers_of_arms, collected, temporary / frozen.PIXELS))
        _check_pane(values["cases"])
        values["hash"] = frozen.digest(values)
        write_text(temporary / frozen.FILE, json.dumps(values, indent=1) + "\n")
        (temporary / frozen.FILE).chmod(0o600)
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return frozen.Study(folder)


def _check_order(design: Design) -> None:
    order = design.order
    plan = ordering.Plan(
        tuple(map(str, range(design.cases.count))),
        tuple(f"training {i}" for i in range(design.cases.training)),
        tuple(arm.name for arm in design.arms),
        design.pairs,
        design.seed,
        order.repeats,
        order.repeat_distance,
        order.min_distance,
        order.sessions,
    )
    for reader in range(_TRIAL_ORDERS):
        ordering.order(plan, str(reader))


def _upscaler(arm: Arm, design: Design) -> Upscaler | None:
    """Returns an arm's upscaler, `None` for the reference."""
    if arm.model == STORED_REFERENCE:
        return None
    local = design.folder / pathlib.Path(arm.model).expanduser()
    upscaler = upscalers.load(os.fspath(local) if local.exists() else arm.model)
    if upscaler.scale not in (None, design.scale):
        raise InputError(f"arm {arm.name} upscales x{upscaler.scale}, the study x{design.scale}")
    if upscaler.channels not in (None, 1):
        raise InputError(
            f"expected a model of gray images for arm {arm.name}. Received: one of {upscaler.channels} channels"
        )
    return upscaler


def _description(design: Design, upscalers_of_arms: dict[str, Upscaler | None]) -> dict:
    """Returns the content of study.json without cases and hash."""
    degradation = degradations.make(design.scale, **dataclasses.asdict(design.degradation))
    return {
        "format": frozen.FORMAT,
        "title": design.title,
        "instructions": design.instructions,
        "seed": design.seed,
        "scale": design.scale,
        "degradation": degradation.describe(),
        "software": {"tfmisr": tfmisr.__version__},
        "arms": [_arm(arm, upscalers_of_arms[arm.name]) for arm in design.arms],
        "questions": [dataclasses.asdict(question) | {"anchors": [*question.anchors]} for question in design.questions],
        "preference": _preference(design),
        "order": dataclasses.asdict(design.order),
        "display": {"panes": [*design.display.panes], "interpolation": design.display.interpolation},
        "reading": dataclasses.asdict(design.reading),
        "analysis": dataclasses.asdict(design.analysis)
        | {"reference": design.reference, "primary": design.analysis.primary or design.questions[0].key},
    }


def _arm(arm: Arm, upscaler: Upscaler | None) -> dict:
    return {
        "name": arm.name,
        "model": upscaler.name if upscaler else STORED_REFERENCE,
        "truth": upscaler is None,
        "parameters": upscaler.parameters if upscaler else 0,
        "weights_sha256": upscaler.weights_sha256 if upscaler else "",
    }


def _preference(design: Design) -> dict | None:
    if design.preference is None:
        return None
    return {"key": "preference", "text": design.preference.text, "pairs": [list(pair) for pair in design.pairs]}


def _cases(
    design: Design, upscalers_of_arms: dict[str, Upscaler | None], collected: Iterator[Case], folder: pathlib.Path
) -> Iterator[dict]:
    """Writes the pixel files of each case and yields its entry of study.json."""
    total = design.cases.count + design.cases.training
    for number, case in enumerate(bar(collected, desc="images", total=total, unit=" cases", leave=False), 1):
        lr, images = _images(design, upscalers_of_arms, case, number)
        yield {
            "id": f"case-{number:03d}",
            "training": number > design.cases.count,
            **_presentation(case),
            "source": case.source,
            "images": {name: _write(folder, case, image) for name, image in images.items()},
            "references": {
                role: _write(folder, case, image)
                for role, image in (("lr", lr), (STORED_REFERENCE, _reference(case)))
                if role in design.display.panes
            },
        }


def _check_pane(entries: list[dict]) -> None:
    """Raises `InputError` if a model of any name gives the pixels of the low-resolution pane in all cases."""
    for arm in entries[0]["images"]:
        if all(entry["images"][arm] == entry["references"].get("lr") for entry in entries):
            raise InputError(rules.same_as_pane(arm))


def _images(
    design: Design, upscalers_of_arms: dict[str, Upscaler | None], case: Case, number: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Returns stored values: the low-resolution image, repeated to the common grid, and the image of each arm."""
    scale = design.scale
    degradation = degradations.make(scale, **dataclasses.asdict(design.degradation))
    lr = degradation(case.to_network(), case.levels, np.random.default_rng([design.seed, 2, number]))
    images = {}
    for name, upscaler in upscalers_of_arms.items():
        images[name] = _reference(case) if upscaler is None else case.to_stored(upscaler(lr, scale, levels=case.levels))
        if images[name].shape != case.pixels.shape:
            raise InputError(f"expected {case.pixels.shape} pixels from arm {name}. Received: {images[name].shape}")
    return case.to_stored(lr.repeat(scale, 0).repeat(scale, 1)), images


def _reference(case: Case) -> np.ndarray:
    # Through the network's range, so that values outside it are clipped as in the other arms.
    return case.to_stored(case.range.to_network(case.pixels[..., None])[0])


def _presentation(case: Case) -> dict:
    low = case.limits[0]
    presentation = frozen.Presentation(
        *case.pixels.shape,
        low,
        case.slope,
        case.intercept,
        case.window,
        case.inverted,
        case.padding and tuple(int(np.clip(limit - low, 0, 65535)) for limit in case.padding),
        case.presets,
    )
    return dataclasses.asdict(presentation)


def _write(folder: pathlib.Path, case: Case, stored: np.ndarray) -> str:
    """Writes a pixel file and returns its digest."""
    body = (stored - case.limits[0]).astype("<u2").tobytes()
    digest = hashlib.sha256(body).hexdigest()
    with atomic_write(folder / f"{digest}.u16") as temporary:
        temporary.write_bytes(body)
    return digest
