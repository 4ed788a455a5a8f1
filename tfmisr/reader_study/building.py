"""From a study file to a frozen study: every arm's image of every case, on one grid, in files of one size."""

import dataclasses
import hashlib
import json
import os
import pathlib
import shutil

import numpy as np

import tfmisr
from tfmisr import cli, degradations
from tfmisr.edge.errors import InputError
from tfmisr.edge.files import atomic_write, remove_stale_temporaries, temporary_name, write_text
from tfmisr.inference import upscalers
from tfmisr.progress import bar
from tfmisr.reader_study import cases, frozen, ordering
from tfmisr.reader_study.design import Design
from tfmisr.reader_study.rules import TRUTH

# Readers for whom an order is tried before anything is computed.
_TRIED = 20


def build(design: Design, folder) -> frozen.Study:
    """Writes a study folder, whole or not at all.

    Args:
        design: What `tfmisr.reader_study.design.read` returned.
        folder: A new one: a frozen study is never changed.

    Raises:
        InputError: The folder is there; a model or a case does not fit; or no order does.
    """
    folder = pathlib.Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"a study is frozen once it is built; choose a new folder. Received: {folder}")
    cli.check_writable(folder)
    _check_order(design)
    arms = {arm.name: _upscaler(arm, design) for arm in design.arms}
    remove_stale_temporaries(folder.parent.glob(temporary_name(folder, "*").name))
    temporary = temporary_name(folder)
    try:
        (temporary / frozen.PIXELS).mkdir(parents=True)
        values = _described(design, arms)
        found, values["patients"] = cases.collect(design.cases, design.scale, design.seed, design.folder)
        values["cases"] = list(_cases(design, arms, found, temporary / frozen.PIXELS))
        values["hash"] = frozen.digest(values)
        write_text(temporary / frozen.FILE, json.dumps(values, indent=1) + "\n")
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return frozen.Study(folder)


def _check_order(design):
    wanted, order = design.cases, design.order
    plan = ordering.Plan(
        tuple(map(str, range(wanted.count))),
        tuple(f"training {i}" for i in range(wanted.training)),
        tuple(arm.name for arm in design.arms),
        design.pairs,
        design.seed,
        order.repeats,
        order.repeat_distance,
        order.min_distance,
        order.sessions,
    )
    for reader in range(_TRIED):
        ordering.order(plan, str(reader))


def _upscaler(arm, design):
    if arm.model == TRUTH:
        return None
    local = design.folder / pathlib.Path(arm.model).expanduser()
    found = upscalers.load(os.fspath(local) if local.exists() else arm.model)
    if found.scale not in (None, design.scale):
        raise InputError(f"arm {arm.name} enlarges {found.scale} times, the study {design.scale} times")
    if found.channels not in (None, 1):
        raise InputError(f"arm {arm.name} takes images of {found.channels} channels; a study shows gray images")
    return found


def _described(design, arms) -> dict:
    degradation = degradations.make(design.scale, **dataclasses.asdict(design.degradation))
    return {
        "format": frozen.FORMAT,
        "title": design.title,
        "instructions": design.instructions,
        "seed": design.seed,
        "scale": design.scale,
        "degradation": degradation.describe(),
        "software": {"tfmisr": tfmisr.__version__},
        "arms": [_arm(arm, arms[arm.name]) for arm in design.arms],
        "questions": [dataclasses.asdict(question) | {"anchors": [*question.anchors]} for question in design.questions],
        "preference": _preference(design),
        "order": dataclasses.asdict(design.order),
        "display": {"panes": [*design.display.panes], "interpolation": design.display.interpolation},
        "reading": dataclasses.asdict(design.reading),
        "analysis": dataclasses.asdict(design.analysis)
        | {"reference": design.reference, "primary": design.analysis.primary or design.questions[0].key},
    }


def _arm(arm, upscaler):
    return {
        "name": arm.name,
        "model": upscaler.name if upscaler else TRUTH,
        "truth": upscaler is None,
        "parameters": upscaler.parameters if upscaler else 0,
        "weights_sha256": upscaler.weights_sha256 if upscaler else "",
    }


def _preference(design):
    if design.preference is None:
        return None
    return {"key": "preference", "text": design.preference.text, "pairs": [list(pair) for pair in design.pairs]}


def _cases(design, arms, found, folder):
    total = design.cases.count + design.cases.training
    for number, case in enumerate(bar(found, desc="images", total=total, unit=" cases", leave=False), 1):
        lr, made = _images(design, arms, case, number)
        yield {
            "id": f"case-{number:03d}",
            "training": number > design.cases.count,
            **_shown(case),
            "source": case.source,
            "images": {name: _write(folder, case, image) for name, image in made.items()},
            "references": {
                role: _write(folder, case, image)
                for role, image in (("lr", lr), ("truth", _truth(case)))
                if role in design.display.panes
            },
        }


def _images(design, arms, case, number):
    """Returns the low-resolution image with each pixel as a square, and the image of each arm: stored values."""
    scale = design.scale
    degradation = degradations.make(scale, **dataclasses.asdict(design.degradation))
    lr = degradation(case.to_network(), case.levels, np.random.default_rng([design.seed, 2, number]))
    made = {}
    for name, upscaler in arms.items():
        made[name] = _truth(case) if upscaler is None else case.to_stored(upscaler(lr, scale))
        if made[name].shape != case.pixels.shape:
            raise InputError(f"arm {name} made {made[name].shape} pixels of an image of {case.pixels.shape}")
    return case.to_stored(lr.repeat(scale, 0).repeat(scale, 1)), made


def _truth(case):
    # Values beyond what networks see are cut off as they are in the other arms.
    return case.to_stored(case.range.to_network(case.pixels[..., None])[0])


def _shown(case) -> dict:
    low = case.limits[0]
    shown = frozen.Shown(
        *case.pixels.shape,
        low,
        case.slope,
        case.intercept,
        case.window,
        case.inverted,
        case.padding and tuple(int(np.clip(limit - low, 0, 65535)) for limit in case.padding),
    )
    return dataclasses.asdict(shown)


def _write(folder, case, stored) -> str:
    body = (stored - case.limits[0]).astype("<u2").tobytes()
    name = hashlib.sha256(body).hexdigest()
    with atomic_write(folder / f"{name}.u16") as temporary:
        temporary.write_bytes(body)
    return name
