"""What a user of the package types: modules, public names, flags and the values that they take, as JSON.

    python tests/previous_release/interface.py inventory > names.json     in a checkout of that release
    python tests/previous_release/interface.py check names.json           in today's: prints what is missing

It runs in a process of its own, because it imports every module.
"""

import argparse
import ast
import contextlib
import importlib
import inspect
import io
import json
import pathlib
import sys
import warnings

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
COMMANDS = (
    "tfmisr.fit",
    "tfmisr.tune",
    "tfmisr.evaluate",
    "tfmisr.upscale",
    "tfmisr.export.__main__",
    "tfmisr.export.benchmark",
    "tfmisr.prepare",
    "tfmisr.models.__main__",
    "tfmisr.study.__main__",
    "tfmisr.dicom_check",
    "tfmisr.tuning.study_report",
)
# What the extras bring that are not part of every environment; a module that needs one is left out where it is missing.
OPTIONAL = {"tensorflow_io", "keras_tuner", "starlette", "uvicorn"}


class _Parsed(Exception):
    """Ends a command where it parses its arguments."""

    def __init__(self, parser):
        super().__init__()
        self.parser = parser


def parser_of(command: str) -> argparse.ArgumentParser:
    """Returns the parser that a command's `main` makes, whatever makes it there."""

    def parse_known_args(self, args=None, namespace=None):
        raise _Parsed(self)

    original = argparse.ArgumentParser.parse_known_args
    main = importlib.import_module(command).main
    subclass = importlib.import_module("tfmisr.cli").Parser
    own = subclass.__dict__.get("parse_known_args")
    try:
        argparse.ArgumentParser.parse_known_args = parse_known_args
        if own:
            subclass.parse_known_args = parse_known_args
        main([])
    except _Parsed as found:
        return found.parser
    finally:
        argparse.ArgumentParser.parse_known_args = original
        if own:
            subclass.parse_known_args = own
    raise AssertionError(f"{command} parses no arguments")


def parsers_of(command: str) -> dict[str, argparse.ArgumentParser]:
    """Returns the parsers of a command and of its sub-commands, by name."""
    return _with_subparsers(command, parser_of(command))


def _with_subparsers(name, parser):
    found = {name: parser}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for part, sub in action.choices.items():
                found |= _with_subparsers(f"{name} {part}", sub)
    return found


def flags_of(parser: argparse.ArgumentParser) -> dict[str, list]:
    """Returns each flag, and each positional argument in angle brackets, with its choices as texts."""
    flags = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            continue
        choices = [str(choice) for choice in action.choices or ()]
        for flag in action.option_strings or [f"<{action.dest}>"]:
            flags[flag] = choices
    return flags


def modules() -> dict[str, list[str]]:
    """Returns every module of this checkout with the public names that it defines or lists in `__all__`."""
    found = {}
    for top, package in (("tfmisr", "tfmisr"), ("export", "tfmisr.export"), ("datasets", "tfmisr.datasets")):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT / top).with_suffix("").parts
            if parts[-1] == "__main__" and len(parts) == 1 and top == "tfmisr":
                parts = ("__main__",)
            name = ".".join((package, *(part for part in parts if part != "__init__")))
            found[name] = _names(ast.parse(path.read_text(encoding="utf-8")).body)
    return found


def _names(body) -> list[str]:
    names = []
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.append(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                parts = target.elts if isinstance(target, ast.Tuple) else [target]
                names += [part.id for part in parts if isinstance(part, ast.Name)]
                if isinstance(target, ast.Name) and target.id == "__all__":
                    names += ast.literal_eval(node.value)
        elif isinstance(node, ast.Try):
            names += _names(node.body)
    return sorted({name for name in names if not name.startswith("_")})


def values() -> dict[str, list[str]]:
    """Returns what can be named: models, presets, losses, measures and so on."""
    from tfmisr import classical, data, degradations, loss_expression, models, presets, scoring
    from tfmisr.edge import shipped
    from tfmisr.models import discriminators
    from tfmisr.tuning import studies

    variants = [f"{name}/{variant}" for name in models.names() for variant in models.module(name)[0].VARIANTS]
    return {
        "model": models.names() + variants,
        "build": [f"{model}:{name}" for model in models.names() for name in models.build_arguments(model)],
        "preset": presets.names(),
        "loss": [*loss_expression.NAMES, *_LOSSES],
        "degradation": [*degradations.names(), *_reductions(degradations)],
        "discriminator": discriminators.names(),
        "measure": [*scoring.MEASURES, *scoring.FURTHER],
        "method": [*scoring.INTERPOLATIONS, *classical.METHODS],
        "shipped": shipped.names(),
        "study": studies.names(),
        "dataset": data.names(),
    }


def _reductions(degradations):
    """Yields a text with each number of each degradation."""
    for rounding in degradations.ROUNDINGS:
        yield f"bicubic(rounding={rounding})"
    for name in degradations.names():
        if name != "bicubic":
            numbers = list(inspect.signature(degradations._module(name).steps).parameters.values())[1:]
            yield from (f"{name}({number.name}={number.default})" for number in numbers)


_LOSSES = (
    "charbonnier + 0.1*ms_ssim(scales=2)",
    "perceptual(layers=conv5_4, activation=after, distance=l2)",
    "frequency(kind=complex)",
    "frequency(kind=amplitude)",
    "frequency(kind=focal, alpha=2)",
    "gradient(kind=sobel)",
    "gradient(kind=difference)",
    "charbonnier(epsilon=0.01)",
    "perceptual(layers=conv3_4+conv5_4, activation=before, distance=l1, weights=vgg.npz)",
    "perceptual(network=own.keras, layers=a, value_range=signed, distance=l2)",
    "perceptual(network=own.keras, layers=a, value_range=bytes)",
)


def inventory() -> dict:
    """Returns what this checkout has."""
    return {
        "modules": modules(),
        "commands": {name: flags_of(parser) for command in COMMANDS for name, parser in parsers_of(command).items()},
        "keywords": {name: sorted(_keywords(name)) for name in ("fit", "tune", "evaluate", "export")},
        "values": values(),
    }


def _keywords(function):
    """Returns the names that a function of the Python API takes, which are those of the command's flags."""
    actions = parser_of("tfmisr.export.__main__" if function == "export" else f"tfmisr.{function}")._actions
    placed = {"help"} | ({"output"} if function == "export" else set())
    return {action.dest for action in actions if action.option_strings} - placed


def _lacks(names: dict) -> list[str]:
    """Returns what is missing of `names["modules"]`, a line each."""
    lines = []
    for name, public in names["modules"].items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                warnings.filterwarnings("ignore", category=DeprecationWarning)
                warnings.filterwarnings("ignore", module="(?!tfmisr)")
                module = importlib.import_module(name)
                lines += [f"{name}.{attribute} is gone" for attribute in public if not hasattr(module, attribute)]
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in OPTIONAL:
                lines.append(f"{name} does not import: {error!r}")
        except Exception as error:  # one module's fault is not to hide another's  # noqa: BLE001
            lines.append(f"{name} does not import: {error!r}")
    return lines


def _refused_flags(names: dict) -> list[str]:
    lines, parsers = [], {}
    for name, flags in names["commands"].items():
        command = name.partition(" ")[0]
        parsers = parsers if name in parsers else parsers_of(command)
        if name not in parsers:
            lines.append(f"{name} is no command")
            continue
        lines += [f"{name}: {why}" for flag, choices in flags.items() for why in _refused(parsers[name], flag, choices)]
    return lines


def _refused(parser, flag, choices):
    positional = [action for action in parser._actions if not action.option_strings]
    if flag.startswith("<"):
        action = next((action for action in positional if f"<{action.dest}>" == flag), None)
        action = action or (positional[0] if positional else None)
    else:
        action = parser._option_string_actions.get(flag)
    if action is None:
        yield f"{flag} is gone"
        return
    for choice in choices:
        try:
            parser._check_value(action, parser._get_value(action, choice))
        except argparse.ArgumentError as error:
            yield f"{flag} {choice}: {error}"


def _refused_keywords(names: dict) -> list[str]:
    """Returns the keywords that are unknown; of one that is known, the value that cannot be is told first."""
    import tfmisr
    from tfmisr.edge.errors import InputError

    places = {"evaluate": ("bicubic",), "export": ("bicubic", "nowhere")}
    lines = []
    for function, keywords in names["keywords"].items():
        for keyword in keywords:
            try:
                with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
                    warnings.simplefilter("ignore")
                    getattr(tfmisr, function)(*places.get(function, ()), **{keyword: object()})
            except InputError as error:
                if "has no option" in str(error):
                    lines.append(f"tfmisr.{function}: {error}")
    return lines


def _refused_values(names: dict) -> list[str]:
    """Returns what is refused of `names["values"]`; each value goes where a user would type it."""
    lines = []
    for kind, chosen in names["values"].items():
        for value in chosen:
            try:
                with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
                    warnings.simplefilter("ignore")
                    _USES[kind](value)
            except Exception as error:  # noqa: BLE001
                lines.append(f"{kind} {value}: {error!r}")
    return lines


def _run_config(**fields):
    from tfmisr import config

    return config.Config(**fields)


def _use_preset(name):
    from tfmisr import config

    config.from_dict(config.preset(name), name)


def _use_model(name):
    from tfmisr import models

    models.module(name)


def _use_build(text):
    from tfmisr import models

    model, _, name = text.partition(":")
    if name not in models.build_arguments(model):
        raise ValueError("no such argument")


def _use_degradation(name):
    from tfmisr import degradations

    degradations.of({**_run_config(scale=2).identity(), "degradation": name})


def _use_measure(name):
    """A wrong `--max_images` ends the command after the measures were found to be known."""
    from tfmisr import evaluate
    from tfmisr.edge.errors import InputError

    try:
        evaluate.main(["bicubic", "--max_images", "0", "--measures", "psnr", name])
    except InputError as error:
        if "max_images" not in str(error):
            raise


def _use_method(name):
    from tfmisr import classical, upscalers

    if classical.named(name) is None:
        upscalers.load(name)


def _use_shipped(name):
    from tfmisr.edge import shipped

    shipped.path(name)


def _use_study(name):
    from tfmisr import config
    from tfmisr.tuning import studies

    config.from_dict(studies.study(name)[0], name)


def _use_dataset(name):
    from tfmisr import data

    if name not in data.names():
        raise ValueError("no such dataset")


_USES = {
    "model": _use_model,
    "build": _use_build,
    "preset": _use_preset,
    "loss": lambda text: _run_config(loss=text, patch_size=64),
    "degradation": _use_degradation,
    "discriminator": lambda name: _run_config(discriminator=name),
    "measure": _use_measure,
    "method": _use_method,
    "shipped": _use_shipped,
    "study": _use_study,
    "dataset": _use_dataset,
}


def check(names: dict) -> list[str]:
    """Returns what today's checkout lacks, a line each."""
    return [*_lacks(names), *_refused_flags(names), *_refused_keywords(names), *_refused_values(names)]


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    if sys.argv[1] == "inventory":
        print(json.dumps(inventory(), indent=1))
    else:
        found = check(json.loads(pathlib.Path(sys.argv[2]).read_text(encoding="utf-8")))
        print("\n".join(found))
