"""python -m tfmisr.export: a trained network as `.tflite` files with model cards, and as a SavedModel."""

import argparse
import dataclasses
import json
import math
import pathlib
import sys

from tfmisr import cli
from tfmisr.edge.errors import InputError
from tfmisr.evaluation import outcomes
from tfmisr.export.arguments import _parser as _parser
from tfmisr.export.arguments import check, parse

_CALIBRATED = ("int8", "int16x8")


def main(argv=None) -> int:
    """Runs the command; see `--help`."""
    found = run(parse(argv))
    if text := str(found):
        print(text)
    return 1 if found.failures else 0


def run(arguments: argparse.Namespace) -> outcomes.Exported:
    """Exports what the parsed flags, or `tfmisr.options.parsed`, say."""
    asked = check(arguments)
    _check_backend()
    from tfmisr import config, degradations, models
    from tfmisr.export import convert
    from tfmisr.inference import upscalers

    run = upscalers.load(arguments.model)
    if run.channels is None:
        raise InputError(f"expected a run's folder or a .keras file. Received: {arguments.model}, an interpolation")
    upright = convert.in_float32(models.load(arguments.model))
    network = _folded(upright, arguments)
    degradation = degradations.of({**run.config, "scale": run.scale})
    source = _source(arguments, run.config or config.Config().identity() | {"dataset": None})
    cli.require_writable(arguments.output)
    tiles = asked or [_fitting(upscalers.receptive_radius(network))]
    export = Export(arguments, run, upright, network, source, degradation, tiles[0])
    paths = [export.write(flavour, tile) for tile in tiles for flavour in convert.FLAVOURS if flavour in export.wanted]
    if "saved_model" in arguments.formats:
        convert.save_model(network, export.folder / "saved_model")
        print(f"{export.folder / 'saved_model'}: any size, signature {convert.SIGNATURE}")
    report = export.compare(paths) if paths and arguments.images else {}
    return outcomes.Exported(export.folder, tuple(paths), report)


def _check_backend():
    import keras

    if keras.backend.backend() != "tensorflow":
        raise InputError(
            "TensorFlow's converter needs a network of its own: run this with KERAS_BACKEND=tensorflow; "
            f"a .keras file is the same for all. Received: {keras.backend.backend()}"
        )


def _folded(network, arguments):
    from tfmisr.quantization import plain_network

    if arguments.orientations == 1:
        return network
    if plain_network.convolutions(network) is None:
        raise InputError(
            "--orientations needs a row of convolutions with a ReLU behind each that adds to the interpolation, such "
            f"as plain; python -m tfmisr.upscale takes MODEL+ for any. Received: {arguments.model} ({network.name})"
        )
    return plain_network.merge_self_ensemble(network, arguments.orientations)


def _fitting(radius: int | None) -> int | None:
    """Returns the side of a tile of which at least a quarter of the area is kept, in steps of 64."""
    return None if radius is None else max(128, math.ceil(4 * radius / 64) * 64)


def _source(arguments, fields):
    if not arguments.images and not set(arguments.formats) & set(_CALIBRATED):
        return None
    if (arguments.dataset or fields["dataset"]) is None:
        raise InputError("the run's folder does not say which images it was trained on; give --dataset")
    from tfmisr import data

    return data.load_for(arguments, fields)


class Export:
    """The files of one network, and the report on them."""

    def __init__(self, arguments, run, upright, network, source, degradation, first_tile):
        from tfmisr.export import cards

        self.arguments, self.run, self.upright, self.network = arguments, run, upright, network
        self.source, self.degradation, self.first_tile = source, degradation, first_tile
        self.folder = pathlib.Path(arguments.output)
        self.name = arguments.name or run.name
        self.wanted = [f for f in arguments.formats if f != "saved_model"]
        self.shared = cards.shared(arguments.model, run.config, arguments.modality, arguments.licence)
        self.shared["orientations"] = arguments.orientations
        self.written, self._calibrations, self.shares, self.narrowed = {}, {}, {}, {}

    def write(self, flavour: str, tile: int | None) -> pathlib.Path:
        """Converts the network and writes the file with a card that does not know the comparison yet."""
        from tfmisr.export import cards, convert
        from tfmisr.inference import upscalers

        core = convert.core_of(self.network, flavour)
        radius = upscalers.receptive_radius(core.network)
        most = self.arguments.max_tile
        fixed = tile if self.arguments.tile and not most else None  # else windows are chosen for each image
        card = cards.describe(self.name, flavour, core, self.run.scale, fixed, radius, self.shared, most)
        cards.check_tile("tile", tile, card["overlap"], radius)
        cards.check_tile("max_tile", most, card["overlap"], radius)
        path = self._path(flavour, tile)
        if flavour in convert.INTEGER:
            self.written[path] = self._integer(core, flavour, tile, card)
        else:
            self.written[path] = convert.to_tflite(core, flavour, tile), card
        self._store(path)
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, tile {fixed or 'any'}, overlap {card['overlap']}")
        return path

    def _integer(self, core, flavour, tile, described):
        """Returns the file calibrated on as many of the crops as its accuracy allows, and its card."""
        from tfmisr.export import convert, ranges
        from tfmisr.quantization import equalization, plain_network

        crops = self._calibration(tile).crops
        if self.arguments.orientations > 1:  # while each channel is read by one convolution alone
            row = plain_network.merge_self_ensemble(
                equalization.equalize(self.upright, crops), self.arguments.orientations
            )
            core = convert.core_of(row, flavour)
        else:
            core = dataclasses.replace(core, network=equalization.equalize(core.network, crops))

        def attempt(share):
            calibration = self._calibration(tile).calmest(core.network, share)
            content = convert.to_tflite(core, flavour, tile, calibration.samples)
            return content, described | {"calibration": calibration.summary()}, calibration

        def drop_of(file):
            content, card, _ = file
            return ranges.training_drop(content, card, self.network, self.source, self.run.scale, self.degradation)

        name, enough = self._path(flavour, tile).name, self.arguments.max_psnr_drop / 2
        (content, card, used), self.shares[name] = ranges.least_narrowed(attempt, drop_of, enough)
        if used.share < 1:
            self.narrowed[name] = used.summary() | {"crops": used.places}
        return content, card

    def _path(self, flavour, tile):
        first = tile == self.first_tile
        return self.folder / f"{self.name}_{flavour}{'' if first else '_' + str(tile or 'any')}.tflite"

    def _calibration(self, tile):
        from tfmisr.export import calibration

        side = tile or 128
        if side not in self._calibrations:
            count = self.arguments.calibration_images
            chosen = calibration.choose(self.source, self.run.scale, self.degradation, count, side)
            self._calibrations[side] = chosen
        return self._calibrations[side]

    def _store(self, path):
        from tfmisr.edge import card, files

        content = card.attach(*self.written[path])
        with files.atomic_write(path) as temporary:
            temporary.write_bytes(content)
        files.write_text(card.sidecar_path(path), json.dumps(card.check(content, "the new file"), indent=2) + "\n")

    def compare(self, paths) -> dict:
        """Writes `report.json` and `report.md`, and the cards again with what was found; returns the report."""
        from tfmisr.edge.files import write_text
        from tfmisr.export import benchmark, convert, report

        arguments = self.arguments
        limits = report.Limits(arguments.max_psnr_drop, arguments.max_ssim_drop, arguments.max_float32_error)
        chosen = self.source, arguments.split, self.run.scale, self.degradation, arguments.images
        found = {"name": self.name, **report.parity(self.network, paths, *chosen)}
        for path, (content, card) in self.written.items():
            own = found["files"][path.name]
            own |= {"flavour": card["flavour"], "tile": card["tile"], "bytes": path.stat().st_size}
            own["operations"] = convert.operations_of(content)
        found["failures"] = report.failures(found, limits)
        found["limits"] = dataclasses.asdict(limits)
        found["calibration"] = {str(side): c.summary() | {"crops": c.places} for side, c in self._calibrations.items()}
        found |= {"calibration_shares": self.shares, "calibration_narrowed": self.narrowed}
        self._tell_cards(found)
        found["benchmark"] = benchmark.measure(paths, rounds=arguments.rounds)
        write_text(self.folder / "report.json", json.dumps(found, indent=2) + "\n")
        write_text(self.folder / "report.md", report.markdown(found))
        for failure in found["failures"]:
            print(f"over the limit: {failure}", file=sys.stderr)
        return found

    def _tell_cards(self, found):
        for path, (content, card) in self.written.items():
            own = found["files"][path.name]
            parity = {key: found[key] for key in ("dataset", "split")} | {"images": len(found["images"])}
            parity |= {key: own[key] for key in ("psnr", "psnr_drop", "ssim", "ssim_drop", "worst_pixel")}
            self.written[path] = content, {**card, "against_keras": parity}
            self._store(path)


if __name__ == "__main__":
    cli.run(main)
