"""Rules for the source code: docstrings, type hints, direction of imports, length of files, the field's words.

The checks read the source (`ast`, `re`) and import nothing of the package. `python tests/test_house.py` prints what
they measure, in the form of the tables below. The tables list what is allowed to break a rule. They can only shrink:
where `STRICT` is set, an entry that is no longer needed fails its test as well.
"""

import ast
import collections
import dataclasses
import functools
import graphlib
import pathlib
import re
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
STRICT = True
PACKAGES = {"tfmisr": "tfmisr", "datasets": "tfmisr.datasets", "export": "tfmisr.export"}

# -- Docstrings and type hints --------------------------------------------------------------------------------------

DOCSTRING_COVERAGE = 0.95
# Keras documents a class once (its STYLE_GUIDE.md); these methods have the base class's meaning and signature.
KERAS = frozenset(
    "build call compute_output_shape compute_output_spec compute_loss compute_metrics from_config get_build_config "
    "get_config build_from_config result reset_state train_step test_step predict_step update_state set_model "
    "on_train_begin on_train_end on_epoch_begin on_epoch_end on_train_batch_begin on_train_batch_end "
    "on_test_begin on_test_end".split()
)
# Room to number of public signatures without complete type hints; 0 for all others.
MISSING_HINTS = {}

# -- Imports --------------------------------------------------------------------------------------------------------

# A module imports from its own room and from those before it. A room is a package or module directly in tfmisr/.
ROOMS = (
    "_moved edge progress cli options _lazy _rows cluster presets degradations layers models losses quantization "
    "config data metrics datasets classical training inference evaluation calibration volumes export tuning "
    "reader_study observers prepare dicom_check signing card upscale volume gateway evaluate calibrate observe fit "
    "tune api tfmisr __main__"
).split()
# (room, room it imports upwards) to the reason.
UPWARD_IMPORTS = {}

# -- Files ----------------------------------------------------------------------------------------------------------

MAX_LINES = 300
LONGER_FILES = {}

# -- Words ----------------------------------------------------------------------------------------------------------

TEXTS = ("tfmisr", "export", "datasets", "benchmarks", "examples", "docs", "README.md", "CONTRIBUTING.md")
SUFFIXES = {".py", ".md", ".toml", ".html", ".js", ".css", ".yaml", ".sbatch", ".cpp", ".h"}


@dataclasses.dataclass(frozen=True)
class Word:
    """A word that is not used: `pattern` in lower case, the usual word, and the folder it is about."""

    pattern: str
    instead: str
    folder: str = ""


WORDS = (
    Word(r"enlarg\w*", "upscale"),
    Word(r"judg\w*", "evaluate, evaluation, score"),
    Word(r"whole or not at all", "atomically"),
    Word(r"whole (?:image|picture)s?", "full image", "tfmisr/evaluat"),
    Word(r"true images?", "ground truth"),
    Word(r"\banew\b", "again"),
    Word(r"by heart", "overfits"),
    Word(r"\bgo(?:es)? on\b", "resumes, continues"),
    Word(r"\b(?:is|are|was|were) told\b|\btells\b", "receives, reports, distinguishes"),
    Word(r"calm(?:er|est)?\b", "outlier-trimmed"),
    Word(r"magnified", "dual-range, fine_scale"),
    Word(r"degrader\w*", "degradation model, downsampling generator"),
    Word(r"invent(?:s|ed|ions?)\b", "hallucinated"),
    Word(r"\breach(?:es)?\b|\breach_\w+|\w+_reach\b", "activation range", "tfmisr/quantization/"),
    Word(r"hygiene", "removed attributes"),
    Word(r"interpolation_plus", "global_residual"),
    Word(r"gentle_conv", "small-variance initialization"),
    Word(r"turned_back", "invert_dihedral"),
    Word(r"written down\b", "recorded"),
    Word(r"grey\w*", "gray"),
    Word(r"cent(?:re|ring)\w*", "center"),
    Word(r"licence\w*", "license"),
    Word(r"colour\w*", "color"),
    Word(r"(?:flav|behavi|neighb|fav|hon|lab)our\w*", "-or"),
    Word(r"(?:milli|centi|kilo)?metres?\b", "meter"),
    Word(
        r"(?:character|digit|equal|final|general|initial|linear|local|maxim|minim|normal|optim|organ|parametr|penal|"
        r"polar|quant|random|real|recogn|regular|serial|special|standard|summar|synchron|util|visual)"
        r"is(?:e|ed|es|er|ers|ing|ations?)\b",
        "-ize",
    ),
    Word(r"\banalys(?:e|ed|ing)\b|(?:label|model|cancel|travel|signal)l(?:ed|ing)\b", "American spelling"),
)
# Keys of users' files and the like, allowed anywhere in quotation marks or backticks.
CONTRACTS = {
    "cancelled": "status of a Dask future",
    "centre_fraction": "key of the protocol in metrics.json",
    "degrader": "group of variables in the checkpoints of CycleGAN",
    "flavour": "key of a model's card",
    "magnified": "key of a model's card",
    "psnr_centre": "key of metrics.json",
}
# File to words that it may use, and why.
EXCEPTIONS = {}
# Beginnings of paths that are not checked yet.
UNCHECKED = (
    "tfmisr/cli.py tfmisr/config tfmisr/data tfmisr/degradations tfmisr/edge tfmisr/evaluat tfmisr/fit.py "
    "tfmisr/losses tfmisr/metrics tfmisr/models tfmisr/presets tfmisr/reader_study tfmisr/training tfmisr/tun "
    "export datasets docs examples/cpp CONTRIBUTING.md"
)
_QUOTES = ('""', "''", "``")
# Files and calls that list names of the previous release.
_OLD_NAME_FILES = ("tfmisr/_moved.py", "tfmisr/metrics/_old_names.py")
_OLD_NAMES = re.compile(r"(?:renamed|attach)\((?:[^()]|\([^()]*\))*\)")


@dataclasses.dataclass(frozen=True)
class Module:
    """A source file: dotted name, path, text and syntax tree."""

    name: str
    path: pathlib.Path
    text: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """Package or module directly in tfmisr/; `tfmisr` for its `__init__`."""
        return self.name.split(".")[1] if "." in self.name else self.name

    @property
    def file(self) -> str:
        """Path below the repository's root."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def public(self) -> bool:
        """Whether no part of the name is private."""
        return not any(is_private(part) for part in self.name.split("."))


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


@functools.cache
def modules() -> dict[str, Module]:
    """Returns all modules of the package by dotted name."""
    found = {}
    for folder, package in PACKAGES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            name = ".".join((package, *(parts[:-1] if parts[-1] == "__init__" else parts)))
            text = path.read_text(encoding="utf-8")
            found[name] = Module(name, path, text, ast.parse(text))
    return found


def definitions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Yields (qualified name, node) of the public classes, functions and methods, those that Keras defines left out."""
    for child in getattr(node, "body", ()):
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield prefix + child.name, child
            yield from definitions(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not (
            child.name.startswith("_") or (prefix and child.name in KERAS) or is_setter(child)
        ):
            yield prefix + child.name, child


def is_setter(function) -> bool:
    return any(isinstance(d, ast.Attribute) and d.attr in ("setter", "deleter") for d in function.decorator_list)


def undocumented() -> tuple[list[str], int]:
    """Returns the public definitions without a docstring, and the number of all."""
    every = [(m, name, node) for m in modules().values() if m.public for name, node in definitions(m.tree)]
    missing = [f"{m.file}:{node.lineno} {name}" for m, name, node in every if not ast.get_docstring(node)]
    return missing, len(every)


def unannotated(function, is_method: bool) -> list[str]:
    """Returns the names of parameters without a type hint, and `return`."""
    arguments = function.args
    static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in function.decorator_list)
    positional = [*arguments.posonlyargs, *arguments.args][is_method and not static :]
    every = [*positional, *arguments.kwonlyargs, *filter(None, (arguments.vararg, arguments.kwarg))]
    return [a.arg for a in every if a.annotation is None] + ["return"] * (function.returns is None)


def missing_hints() -> dict[str, list[str]]:
    """Returns room to the public signatures that lack a type hint."""
    found = collections.defaultdict(list)
    for module in modules().values():
        for name, node in definitions(module.tree) if module.public else ():
            if not isinstance(node, ast.ClassDef) and (lacks := unannotated(node, "." in name)):
                found[module.room].append(f"{module.file}:{node.lineno} {name}: {', '.join(lacks)}")
    return found


def imports(module: Module, typing_only: bool = False) -> Iterator[tuple[str, int]]:
    """Yields (imported module of tfmisr, line), those within functions too, and for type checkers only if asked."""
    skipped = set() if typing_only else type_checking(module.tree)
    for node in ast.walk(module.tree):
        if node in skipped:
            continue
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module.file}:{node.lineno}: expected an absolute import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            while name.startswith("tfmisr") and name not in modules():
                name = name.rpartition(".")[0]
            if name.startswith("tfmisr"):
                yield name, node.lineno


def type_checking(tree: ast.Module) -> set[ast.AST]:
    """Returns the nodes within `if typing.TYPE_CHECKING`."""
    blocks = [n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)]
    return {node for block in blocks for child in block.body for node in ast.walk(child)}


@functools.cache
def room_imports() -> dict[tuple[str, str], list[str]]:
    """Returns (room, imported room) to the lines that import it; `import tfmisr`, which every import does, is none."""
    found = collections.defaultdict(list)
    for module in modules().values():
        for name, line in imports(module):
            if name != "tfmisr" and modules()[name].room != module.room:
                found[module.room, modules()[name].room].append(f"{module.file}:{line} imports {name}")
    return found


def upward() -> dict[tuple[str, str], list[str]]:
    """Returns the part of `room_imports` that runs upwards; a room that is not in `ROOMS` fails a test of its own."""
    rank = {room: i for i, room in enumerate(ROOMS)}
    return {pair: lines for pair, lines in room_imports().items() if rank.get(pair[1], 0) > rank.get(pair[0], 0)}


def longer_files() -> dict[str, int]:
    """Returns file to number of lines, where those are too many."""
    counts = {m.file: len(m.text.splitlines()) for m in modules().values()}
    return {file: count for file, count in counts.items() if count > MAX_LINES}


def texts() -> Iterator[tuple[str, str]]:
    """Yields (file, text) of code and prose."""
    for top in TEXTS:
        path = ROOT / top
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            name = file.relative_to(ROOT).as_posix()
            if file.suffix in SUFFIXES and file.is_file() and name not in _OLD_NAME_FILES:
                yield name, file.read_text(encoding="utf-8")


@functools.cache
def words() -> list[tuple[str, int, str, str, bool]]:
    """Returns (file, line, word with the identifier that it ends, usual word, whether it is quoted)."""
    found = []
    compiled = [(re.compile(word.pattern), word) for word in WORDS]
    any_of_them = re.compile("|".join(f"(?:{word.pattern})" for word in WORDS))
    for file, text in texts():
        text = _OLD_NAMES.sub(lambda call: re.sub(r".", " ", call[0]), text)
        lower = text.lower()  # regular expressions that ignore case are slower
        for match in any_of_them.finditer(lower):
            word = next(word for pattern, word in compiled if pattern.match(lower, match.start()))
            if file.startswith(word.folder):
                start = match.start() - len(re.search(r"\w*\Z", text[: match.start()][-80:])[0])
                quote = text[max(start - 1, 0)] + text[match.end() : match.end() + 1]
                line = text.count("\n", 0, match.start()) + 1
                found.append((file, line, text[start : match.end()], word.instead, quote in _QUOTES))
    return found


def unusual() -> tuple[list[tuple[str, int, str, str]], set[tuple[str, str]]]:
    """Returns the words that are no exceptions, and the exceptions that were met."""
    bad, met = [], set()
    for file, line, token, instead, quoted in words():
        if quoted and token in CONTRACTS:
            met.add(("", token))
        elif token in EXCEPTIONS.get(file, ()):
            met.add((file, token))
        elif not file.startswith(tuple(UNCHECKED.split())):
            bad.append((file, line, token, instead))
    return bad, met


def test_modules_have_docstrings():
    missing = [m.file for m in modules().values() if m.text.strip() and not ast.get_docstring(m.tree)]
    assert not missing


def test_public_names_have_docstrings():
    missing, count = undocumented()
    lines = "\n".join(missing)
    assert 1 - len(missing) / count >= DOCSTRING_COVERAGE, f"{len(missing)} of {count} lack a docstring:\n{lines}"


def test_public_signatures_have_type_hints():
    found = missing_hints()
    lines = [line for room, each in found.items() if len(each) > MISSING_HINTS.get(room, 0) for line in each]
    assert not lines, "add type hints:\n" + "\n".join(lines)
    counts = {room: len(found[room]) for room in sorted(found)}
    assert counts == MISSING_HINTS or not STRICT, f"fewer are missing now: set MISSING_HINTS to {counts}"


def test_every_room_has_a_rank():
    assert not {module.room for module in modules().values()} - set(ROOMS), "add these to ROOMS"
    assert len(ROOMS) == len(set(ROOMS))


def test_imports_run_one_way():
    found = upward()
    lines = [line for pair, each in found.items() if pair not in UPWARD_IMPORTS for line in each]
    assert not lines, "these import a room that comes later in ROOMS:\n" + "\n".join(lines)
    assert set(found) == set(UPWARD_IMPORTS) or not STRICT, "no longer needed in UPWARD_IMPORTS"


def test_no_circle_of_imports_between_rooms():
    graph = collections.defaultdict(set)
    for room, imported in room_imports():
        if (room, imported) not in UPWARD_IMPORTS:
            graph[room].add(imported)
    graphlib.TopologicalSorter(graph).prepare()


def test_edge_imports_edge_alone():
    # The edge package goes to devices; types count too.
    edge = [module for module in modules().values() if module.room == "edge"]
    found = [f"{m.file}:{line} imports {name}" for m in edge for name, line in imports(m, typing_only=True)
             if not name.startswith("tfmisr.edge")]  # fmt: skip
    assert edge
    assert not found


def test_files_are_short():
    found = longer_files()
    grown = {file: count for file, count in found.items() if count > LONGER_FILES.get(file, MAX_LINES)}
    assert not grown, f"split these: at most {MAX_LINES} lines, those in LONGER_FILES no more than now"
    assert found == LONGER_FILES or not STRICT, f"fewer lines now: set LONGER_FILES to {found}"


def test_words_are_those_of_the_field():
    bad, met = unusual()
    assert not bad, "\n".join(f"{file}:{line}: {token!r}; usual: {instead}" for file, line, token, instead in bad)
    listed = {("", token) for token in CONTRACTS} | {(file, t) for file, each in EXCEPTIONS.items() for t in each}
    assert listed == met or not STRICT, f"no longer needed: {sorted(listed - met)}"


@pytest.mark.parametrize(
    "source,expected",
    [
        ("def f(a, *b: int, c=1, **d): ...", ["a", "c", "d", "return"]),
        ("def f(a: int, *, c: int = 1) -> None: ...", []),
    ],
)
def test_missing_hints_by_hand(source, expected):
    assert unannotated(ast.parse(source).body[0], is_method=False) == expected


def test_definitions_by_hand():
    source = "def a(): ...\ndef _b(): ...\nclass C:\n def d(self): ...\n def call(self): ...\n def __init__(self): ..."
    assert [name for name, _ in definitions(ast.parse(source))] == ["a", "C", "C.d"]


def main() -> None:
    """Prints what the checks measure."""
    missing, count = undocumented()
    print(f"docstrings: {1 - len(missing) / count:.1%} of {count}; without:", *missing, sep="\n    ")
    hints = missing_hints()
    print("\nwithout type hints:", *(line for each in hints.values() for line in each), sep="\n    ")
    print(f"\nMISSING_HINTS = { {room: len(each) for room, each in sorted(hints.items())} }")
    print("\nupward imports:", *(line for each in upward().values() for line in each), sep="\n    ")
    print(f"\nLONGER_FILES = {longer_files()}")
    bad, met = unusual()
    print(
        "\nwords:", *(f"{file}:{line}: {token!r}; usual: {instead}" for file, line, token, instead in bad), sep="\n    "
    )
    counts = collections.Counter("/".join(file.split("/")[:2]) for file, *_ in bad)
    print(f"\nwords by folder: {dict(sorted(counts.items()))}\nexceptions met: {sorted(met)}")


if __name__ == "__main__":
    main()
