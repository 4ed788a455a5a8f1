"""Scores models and interpolations on whole images, and writes the tables and the picture."""

import concurrent.futures
import csv
import dataclasses
import io
import json
import math
import pathlib

import numpy as np

from tfmisr.edge.errors import InputError
from tfmisr.evaluation import verdicts

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
REFERENCE = "bicubic"
MEASURES = ("psnr", "ssim", "ms_ssim", "haarpsi", "haarpsi_med")
CENTRE = ("psnr", "ssim")
# Of the whole set of images.
OF_SETS = ("fid", "kid")
LEARNED = ("lpips_alex", "lpips_vgg")
# Those that look at one image alone; that of the true image is told beside.
ALONE = ("laplacian", "noise")
# Of CT slices in Hounsfield units, within a display window.
WINDOWED = tuple(f"{measure}_{window}" for window in ("lung", "soft_tissue", "bone", "brain") for measure in CENTRE)
FURTHER = ("vif", "gmsd", "sharpness", *ALONE, *WINDOWED, *LEARNED, *OF_SETS)


@dataclasses.dataclass
class Result:
    """What an evaluation found.

    Attributes:
        protocol: `tfmisr.evaluation.protocol.Protocol` of these numbers.
        rows: One dictionary an image and model: `id`, `patient`, `model`, and the measures.
        summary: Model to its means, intervals and number of parameters, as in `metrics.json`.
        picture: Images of the case for the montage, by name, with `LR` first and `HR` last.
        case: Name of that case.
        max_val: Full-scale value of that case.
        notes: What a reader of these numbers must know.
    """

    protocol: object
    rows: list[dict]
    summary: dict[str, dict]
    picture: dict[str, np.ndarray]
    case: str
    max_val: int
    notes: tuple[str, ...] = ()


def score(hr: np.ndarray, sr: np.ndarray, max_val: int, crop_border: int, measures=MEASURES) -> dict[str, float]:
    """Returns the measures of one image.

    Args:
        hr: The truth, (height, width, channels) of 8 or 16 bits.
        sr: The restored image, of the same shape and type.
        max_val: Full-scale value.
        crop_border: Pixels cut off at each edge; the `_centre` measures see the central part of the whole image.
        measures: Names in `tfmisr.metrics.METRICS`, or names with functions such as those.
    """
    from tfmisr import metrics

    functions = measures if isinstance(measures, dict) else {name: metrics.METRICS[name] for name in measures}
    shaved = metrics.shave(hr, crop_border), metrics.shave(sr, crop_border)
    values = {name: function(*shaved, max_val) for name, function in functions.items()}
    values |= {f"{name}_hr": functions[name](shaved[0], shaved[0], max_val) for name in ALONE if name in functions}
    central = metrics.centre(hr), metrics.centre(sr)
    for name in (m for m in CENTRE if m in measures):
        values[f"{name}_centre"] = metrics.METRICS[name](*central, max_val)
    return values


def evaluate(
    upscalers: list,
    source,
    split: str,
    scale: int,
    degradation,
    crop_border: int | None = None,
    measures=MEASURES,
    max_images: int | None = None,
    progress: bool = True,
    features=None,
    weights_dir=None,
) -> Result:
    """Scores upscalers on whole images; bicubic is always among them, as the reference.

    Args:
        upscalers: `tfmisr.edge.upscaler.Upscaler`s; names must differ.
        source: `tfmisr.data.Source` of the images.
        split: Its split, or `all`.
        scale: Upsampling factor.
        degradation: `tfmisr.degradations.Degradation` that makes LR.
        crop_border: Pixels cut off at each edge; `None`: the scale.
        measures: Names in `MEASURES` and `FURTHER`.
        max_images: Judge so many images, taken evenly; `None`: all.
        progress: Show a progress bar.
        features: `tfmisr.metrics.features.Features` of `fid` and `kid`; `None`: the standard network.
        weights_dir: Folder of published weights; see `tfmisr.metrics.weights`.

    Raises:
        InputError: An image is too small, or weights cannot be had.
    """
    from tfmisr.data import pipeline
    from tfmisr.evaluation import protocol
    from tfmisr.metrics import collection
    from tfmisr.progress import bar

    crop_border = scale if crop_border is None else crop_border
    functions = _functions(measures, weights_dir)
    sets = collection.Collection([m for m in measures if m in OF_SETS], features, weights_dir)
    caches = [pipeline.cache_of(source, s) for s in (source.splits if split == "all" else [split])]
    total = sum(map(len, caches))
    chosen = _evenly(total, max_images)
    digest, rows = protocol.ImagesHash(), []
    shown = bar(total=len(chosen), desc="judging", unit=" images", disable=not progress, leave=False)
    with shown, concurrent.futures.ThreadPoolExecutor() as pool:
        for cache, picked in _by_cache(caches, chosen):
            for name, patient, max_val, lr, hr in pipeline.pairs(cache, scale, degradation, picked):
                digest.add(name, hr, max_val)
                _require_size(name, hr, crop_border)
                enlarged = [(u.name, u(lr, scale, max_val)) for u in upscalers]
                scores = pool.map(lambda s: score(hr, s[1], max_val, crop_border, functions), enlarged)  # noqa: B023
                for (model, _), values in zip(enlarged, scores, strict=True):
                    rows.append({"id": name, "patient": patient, "model": model, **values})
                sets.add(hr, enlarged, max_val, crop_border)
                shown.update(1)
    found = protocol.Protocol(
        source.name,
        split,
        len(chosen),
        digest.hexdigest(),
        scale,
        degradation.describe(),
        crop_border,
        measures=protocol.definitions(measures, sets.description),
        full_scale=getattr(source, "full_scale", ""),
    )
    summary = summarise(rows, {u.name: u.parameters for u in upscalers})
    for u in upscalers:
        summary[u.name] |= sets.distances(u.name)
    notes = (*verdicts.left_out(summary), *verdicts.few(summary), *sets.notes())
    return Result(found, rows, summary, *_picture(rows, upscalers, caches, scale, degradation), notes)


def _functions(measures, weights_dir) -> dict:
    """Returns the measures of single images by name."""
    from tfmisr import metrics
    from tfmisr.metrics import windows

    known = {**metrics.METRICS, **windows.METRICS}
    functions = {name: known[name] for name in measures if name in known}
    for name in (m for m in measures if m in LEARNED):
        from tfmisr.metrics import lpips

        functions[name] = lpips.load(name, weights_dir)
    return functions


def _evenly(total: int, count: int | None) -> np.ndarray:
    if count is None or count >= total:
        return np.arange(total)
    return np.unique(np.linspace(0, total - 1, count).round().astype(int))


def _by_cache(caches, chosen):
    start = 0
    for cache in caches:
        yield cache, [int(i) - start for i in chosen if start <= i < start + len(cache)]
        start += len(cache)


def _require_size(name, hr, crop_border):
    if min(hr.shape[:2]) <= 2 * crop_border + 11:
        raise InputError(
            f"images must be larger than {2 * crop_border + 11} pixels for crop_border {crop_border}. "
            f"Received: {name} with {hr.shape[0]}x{hr.shape[1]}"
        )


def summarise(rows: list[dict], parameters: dict[str, int]) -> dict[str, dict]:
    """Returns means, 95 % bootstrap intervals over patients, and paired gains over bicubic, by model.

    An image on which a measure is infinite or not defined for any model, such as the PSNR of a blank image, is left
    out of that measure for all models. Where some are, `<measure>_n` and `<measure>_patients` count the others; a
    measure without any is nan.
    """
    by_model = {m: [row for row in rows if row["model"] == m] for m in parameters}
    reference = by_model.get(REFERENCE)
    patients = np.array([row["patient"] for row in next(iter(by_model.values()))])
    measures = [k for k in rows[0] if k not in ("id", "patient", "model")]
    usable = {name: _usable(name, by_model) for name in measures}
    summary = {}
    for model, own in by_model.items():
        found = {"parameters": parameters[model], "n": len(own), "patients": len(np.unique(patients))}
        for name in measures:
            compared = None if name.endswith("_hr") else reference
            found |= _counts(name, usable[name], patients) | _mean(name, own, compared, usable[name], patients)
        summary[model] = found
    return summary


def _mean(name, own, reference, kept, patients) -> dict[str, float]:
    """Returns the mean of a measure over the images to keep, its gain over the reference, and both intervals."""
    from tfmisr.evaluation import statistics

    keys = [f"{name}{end}" for end in ("", "_low", "_high")]
    gains = [f"{name}_gain{end}" for end in ("", "_low", "_high")] if reference else []
    if not kept.any():
        return dict.fromkeys([*keys, *gains], math.nan)
    values, patients = np.array([row[name] for row in own])[kept], patients[kept]
    found = statistics.bootstrap_mean(values, patients)
    if reference:
        other = np.array([row[name] for row in reference])[kept]
        found += statistics.paired_difference(values, other, patients)
    return dict(zip([*keys, *gains], found, strict=True))


def _usable(name, by_model) -> np.ndarray:
    """Returns which images have a finite value of the measure for every model."""
    return np.all([[math.isfinite(row[name]) for row in own] for own in by_model.values()], axis=0)


def _counts(name, kept, patients) -> dict[str, int]:
    if kept.all():
        return {}
    return {f"{name}_n": int(kept.sum()), f"{name}_patients": len(np.unique(patients[kept]))}


def _picture(rows, upscalers, caches, scale, degradation):
    """Returns the case whose gain of the last model over bicubic is the median: typical, not the best."""
    from tfmisr.data import pipeline
    from tfmisr.edge.upscaler import to_levels

    last = [row["psnr"] for row in rows if row["model"] == upscalers[-1].name]
    first = [row["psnr"] for row in rows if row["model"] == REFERENCE] or [0.0] * len(last)
    names = [row["id"] for row in rows if row["model"] == upscalers[-1].name]
    # An image without a PSNR is typical of nothing; where no image has one, any will do.
    gains = [(a - b, name) for a, b, name in zip(last, first, names, strict=True)]
    known = sorted((gain for gain in gains if math.isfinite(gain[0])), key=lambda gain: gain[0]) or gains
    case = known[len(known) // 2][1]
    cache = next(c for c in caches if case in c.ids)
    _, _, max_val, lr, hr = next(pipeline.pairs(cache, scale, degradation, [cache.ids.index(case)]))
    images = {"LR": to_levels(lr, max_val)}
    images |= {u.name: u(lr, scale, max_val) for u in upscalers}
    return {**images, "HR": hr}, case, max_val


def write(result: Result, folder: pathlib.Path, merged: dict | None = None) -> dict:
    """Writes `metrics.json`, `per_image.csv`, `table.md` and `montage.png`, each whole or not at all.

    Args:
        result: What was found.
        folder: Where the files go.
        merged: Models of earlier results to put into the same table.

    Returns:
        The content of `metrics.json`.
    """
    from tfmisr.edge.files import write_text
    from tfmisr.evaluation import montage, table

    folder.mkdir(parents=True, exist_ok=True)
    metrics = {
        "protocol": result.protocol.to_dict(),
        "notes": list(result.notes),
        "models": {**(merged or {}), **_finite(result.summary)},
    }
    write_text(folder / "metrics.json", json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    write_text(folder / "table.md", table.markdown_table(metrics))
    write_text(folder / "per_image.csv", _csv(result))
    scores = {
        row["model"]: {"psnr": row["psnr"], "ssim": row.get("ssim")} for row in result.rows if row["id"] == result.case
    }
    title = f"{result.case}, x{result.protocol.scale}, protocol {result.protocol.hash}"
    options = {"scores": scores, "title": title, "caption": case_caption(result.summary)}
    montage.save_montage(folder / "montage.png", result.picture, result.max_val, **options)
    return metrics


def case_caption(summary: dict[str, dict]) -> str:
    """Returns how the case of the montage was chosen, as `_picture` does it."""
    model = list(summary)[-1]
    count = summary[model].get("psnr_n", summary[model]["n"])
    if model == REFERENCE or count < 2:
        images = summary[model]["n"]
        return "the only image" if images == 1 else f"one of {images} images"
    over = f"PSNR gain of {model} over {REFERENCE}" if REFERENCE in summary else f"PSNR of {model}"
    return f"median case of {count} by {over}"


def _finite(summary):
    """JSON has no NaN and no infinity: what is not a number becomes null."""
    return {model: {k: v if math.isfinite(v) else None for k, v in found.items()} for model, found in summary.items()}


def _csv(result) -> str:
    """Returns a row an image and model, with the protocol's hash; what is infinite or not defined is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [*result.rows[0], "protocol"], lineterminator="\n")
    writer.writeheader()
    for row in result.rows:
        writer.writerow({k: _cell(v) for k, v in row.items()} | {"protocol": result.protocol.hash})
    return text.getvalue()


def _cell(value):
    return "" if isinstance(value, float) and not math.isfinite(value) else value
