"""python -m tfmisr.export: writes a trained network as `.tflite` files with model cards, and as a SavedModel."""

import argparse
import dataclasses
import json
import math
import pathlib
import sys

from tfmisr import cli
from tfmisr.edge.errors import InputError
from tfmisr.evaluation import outcomes
from tfmisr.export import heads
from tfmisr.export.arguments import TARGETS, check, is_tflite, parse
from tfmisr.export.arguments import _parser as _parser

_CALIBRATED = ("int8", "int16x8")


def main(argv: list[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    outcome = run(parse(argv))
    if text := str(outcome):
        print(text)
    return 1 if outcome.failures else 0


def run(arguments: argparse.Namespace) -> outcomes.Exported:
    """Exports a network as the parsed flags, or the options of `tfmisr.export`, request."""
    requested_tiles = check(arguments)
    if is_tflite(arguments.model):
        from tfmisr.export import retarget

        return outcomes.Exported(*retarget.write(arguments, requested_tiles), {})
    _check_backend()
    if heads.is_head(arguments.model):
        return heads.export(arguments)
    from tfmisr.export import self_trained

    if self_trained.is_run(arguments.model):
        return self_trained.export(arguments)
    if arguments.uncertainty_of:
        raise InputError(f"expected the run of an uncertainty head for uncertainty_of. Received: {arguments.model}")
    from tfmisr import config, degradations, models
    from tfmisr.export import convert
    from tfmisr.inference import upscalers

    run = upscalers.load(arguments.model)
    if run.channels is None:
        raise InputError(f"expected a run's folder or a .keras file. Received: {arguments.model}, an interpolation")
    single = convert.in_float32(models.load(arguments.model))
    network = _with_self_ensemble(single, arguments)
    degradation = degradations.of({**run.config, "scale": run.scale})
    source = _source(arguments, run.config or config.Config().identity() | {"dataset": None})
    cli.require_writable(arguments.output)
    tiles = requested_tiles or [_default_tile(upscalers.receptive_radius(network))]
    export = Export(arguments, run, single, network, source, degradation, tiles[0])
    paths = export.write_all(tiles)
    if "saved_model" in arguments.formats:
        convert.save_model(network, export.folder / "saved_model")
        print(f"{export.folder / 'saved_model'}: any size, signature {convert.SIGNATURE}")
    report = export.compare(paths) if paths and arguments.images else {}
    if export.refused:
        others = (
            "the other files are complete" if paths or "saved_model" in arguments.formats else "nothing was written"
        )
        raise InputError(f"{'; '.join(f'{k} was not written: {v}' for k, v in export.refused.items())} ({others})")
    return outcomes.Exported(export.folder, tuple(paths), report)


def _check_backend():
    import keras

    if keras.backend.backend() != "tensorflow":
        raise InputError(
            "TensorFlow's converter needs Keras with the TensorFlow backend: run this with KERAS_BACKEND=tensorflow; "
            f"a .keras file is the same for all backends. Received: {keras.backend.backend()}"
        )


def _with_self_ensemble(network, arguments):
    from tfmisr.quantization import plain_network

    if arguments.orientations == 1:
        return network
    if plain_network.convolutions(network) is None:
        raise InputError(
            "--orientations needs a plain network, a chain of convolutions with a ReLU behind each and a global "
            "bicubic residual, such as plain; python -m tfmisr.upscale takes MODEL+ for any. "
            f"Received: {arguments.model} ({network.name})"
        )
    return plain_network.merge_self_ensemble(network, arguments.orientations)


def _default_tile(radius: int | None) -> int | None:
    """Returns the side of a tile of which at least a quarter of the area is kept, in steps of 64 pixels."""
    return None if radius is None else max(128, math.ceil(4 * radius / 64) * 64)


def _source(arguments, fields):
    if not arguments.images and not set(arguments.formats) & set(_CALIBRATED):
        return None
    if (arguments.dataset or fields["dataset"]) is None:
        raise InputError("the run's folder does not name the images it was trained on; give --dataset")
    from tfmisr import data

    source = data.load_for(arguments, fields)
    if arguments.images and arguments.split not in source.splits:
        raise InputError(
            f"--split {arguments.split} holds no images, those that do are {', '.join(source.splits)}; give another, "
            "or --images 0 to leave the comparison out"
        )
    return source


class Export:
    """The files of one network, and the report on them.

    Args:
        arguments: Parsed flags.
        run: `tfmisr.edge.upscaler.Upscaler` of the run.
        single: Its Keras network in float32.
        network: The same, or with a self-ensemble merged into it.
        source: `tfmisr.data.Source` of the images for calibration and comparison; `None` where none are needed.
        degradation: `tfmisr.degradations.Degradation` that makes LR.
        first_tile: Tile of the files whose names do not mention one.
    """

    def __init__(self, arguments, run, single, network, source, degradation, first_tile: int | None):
        from tfmisr.export import cards

        self.arguments, self.run, self.single, self.network = arguments, run, single, network
        self.source, self.degradation, self.first_tile = source, degradation, first_tile
        self.folder = pathlib.Path(arguments.output)
        self.name = arguments.name or run.name
        self.of_planes = run.scale == 1
        self.flavors = [f for f in arguments.formats if f != "saved_model"]
        self.accelerated = arguments.target != TARGETS[0]
        self.run_fields = cards.shared(arguments.model, run.config, arguments.modality, arguments.license)
        self.run_fields["orientations"] = arguments.orientations
        # By path: content and card of a file. By side: crops. By file name: losses by fraction; which crops were kept.
        self.written, self._calibrations, self.fraction_losses, self.trimmed = {}, {}, {}, {}
        self.refused = {}  # flavor: why it cannot be written

    def write_all(self, tiles: list[int | None]) -> list[pathlib.Path]:
        """Writes the files of all flavors and tiles; those of a flavor that cannot be written go into `refused`."""
        from tfmisr.export import convert

        paths = []
        for tile in tiles:
            for flavor in (each for each in convert.FLAVORS if each in self.flavors and each not in self.refused):
                try:
                    paths.append(self.write(flavor, tile))
                except convert.UnsupportedOperation as error:
                    self.refused[flavor] = str(error)
        return paths

    def write(self, flavor: str, tile: int | None) -> pathlib.Path:
        """Converts the network and writes the file; its card lacks the comparison, which `compare` adds."""
        from tfmisr.export import cards, convert, planes
        from tfmisr.inference import upscalers

        subgraph = convert.exported_subgraph(self.network, flavor)
        radius = upscalers.receptive_radius(subgraph.network)
        max_tile = self.arguments.max_tile
        # Else windows are chosen for each image.
        fixed = tile if self.accelerated or (self.arguments.tile and not max_tile) else None
        fields = self.run.scale, fixed, radius, self.run_fields, max_tile
        card = cards.describe(self.name, flavor, subgraph, *fields, None if self.of_planes else self.degradation)
        card = planes.describe(card, self.degradation, self.source) if self.of_planes else card
        cards.check_tile("tile", tile, card["overlap"], radius)
        cards.check_tile("max_tile", max_tile, card["overlap"], radius)
        path = self._path(flavor, tile)
        if flavor in convert.INTEGER:
            self.written[path] = self._targeted(*self._integer(subgraph, flavor, tile, card))
        else:
            self.written[path] = convert.to_tflite(subgraph, flavor, tile), card
        self._store(path)
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, tile {fixed or 'any'}, overlap {card['overlap']}")
        return path

    def _targeted(self, content, card):
        from tfmisr.export import retarget

        return retarget.retargeted(content, card, self.arguments.target) if self.accelerated else (content, card)

    def _integer(self, subgraph, flavor, tile, described):
        """Returns the file calibrated on the largest fraction of the crops that is precise enough, and its card."""
        from tfmisr import quantization
        from tfmisr.export import convert, ranges
        from tfmisr.quantization import equalization, plain_network

        crops = self._calibration(tile).crops
        if self.arguments.orientations > 1:  # equalized before merging, while one convolution alone reads each channel
            equalized = equalization.equalize(self.single, crops)
            merged = plain_network.merge_self_ensemble(equalized, self.arguments.orientations)
            subgraph = convert.exported_subgraph(merged, flavor)
        elif not quantization.has_ranges(subgraph.network):  # else the ranges were trained
            subgraph = dataclasses.replace(subgraph, network=equalization.equalize(subgraph.network, crops))

        def attempt(fraction):
            calibration = self._calibration(tile).trim_outlier_crops(subgraph.network, fraction)
            content = convert.to_tflite(subgraph, flavor, tile, calibration.samples)
            return content, described | {"calibration": calibration.summary()}, calibration

        def drop_of(file):
            content, card, _ = file
            return ranges.training_drop(content, card, self.network, self.source, self.run.scale, self.degradation)

        # Trained ranges depend on no crop, so fewer ones would give the same file.
        trained = flavor == "int8" and quantization.has_ranges(subgraph.network)
        name, enough = self._path(flavor, tile).name, math.inf if trained else self.arguments.max_psnr_drop / 2
        (content, card, used), losses = ranges.choose_calibration_fraction(attempt, drop_of, enough)
        self.fraction_losses[name] = losses
        if used.fraction < 1:
            self.trimmed[name] = used.summary() | {"crops": used.places}
        return content, card

    def _path(self, flavor, tile):
        first = tile == self.first_tile
        target = f"_{self.arguments.target}" if self.accelerated else ""
        return self.folder / f"{self.name}_{flavor}{target}{'' if first else '_' + str(tile or 'any')}.tflite"

    def _calibration(self, tile):
        from tfmisr.export import calibration

        side = tile or 128
        if side not in self._calibrations:
            count = self.arguments.calibration_images
            crops = calibration.choose(self.source, self.run.scale, self.degradation, count, side)
            self._calibrations[side] = crops
        return self._calibrations[side]

    def _store(self, path):
        from tfmisr.edge import card, files

        content = card.attach(*self.written[path])
        with files.atomic_write(path) as temporary:
            temporary.write_bytes(content)
        written = card.latest(card.check(content, "the new file", self.written[path][1].get("kind")))
        files.write_text(card.sidecar_path(path), json.dumps(written, indent=2) + "\n")

    def compare(self, paths: list[pathlib.Path]) -> dict:
        """Writes `report.json` and `report.md`, and the cards again with the comparison; returns the report."""
        from tfmisr.edge.files import write_text
        from tfmisr.export import benchmark, convert, report

        arguments = self.arguments
        limits = report.Limits(arguments.max_psnr_drop, arguments.max_ssim_drop, arguments.max_float32_error)
        images = self.source, arguments.split, self.run.scale, self.degradation, arguments.images
        results = {"name": self.name, **report.parity(self.network, paths, *images)}
        for path, (content, card) in self.written.items():
            row = results["files"][path.name]
            row |= {"flavour": card["flavor"], "tile": card["tile"], "bytes": path.stat().st_size}
            row["operations"] = convert.operations_of(content)
        results["failures"] = report.failures(results, limits)
        results["limits"] = dataclasses.asdict(limits)
        results["calibration"] = {str(n): c.summary() | {"crops": c.places} for n, c in self._calibrations.items()}
        results |= {"calibration_shares": self.fraction_losses, "calibration_narrowed": self.trimmed}
        self._add_comparison_to_cards(results)
        results["benchmark"] = benchmark.measure(paths, rounds=arguments.rounds)
        write_text(self.folder / "report.json", json.dumps(results, indent=2) + "\n")
        write_text(self.folder / "report.md", report.markdown(results))
        for failure in results["failures"]:
            print(f"over the limit: {failure}", file=sys.stderr)
        return results

    def _add_comparison_to_cards(self, results):
        for path, (content, card) in self.written.items():
            row = results["files"][path.name]
            parity = {key: results[key] for key in ("dataset", "split")} | {"images": len(results["images"])}
            parity |= {key: row[key] for key in ("psnr", "psnr_drop", "ssim", "ssim_drop", "worst_pixel")}
            self.written[path] = content, {**card, "against_keras": parity}
            self._store(path)


if __name__ == "__main__":
    cli.run(main)
