"""Rows that the modules of a package declare, such as `LOSS = Loss("mae", ...)`, read without importing the modules.

A module of losses imports Keras and a module of metrics SciPy; a command's `--help`, which lists both, must not. So the
rows are read from the text of the modules, as `tfmisr.models.build_arguments` does: all fields of a row are literals,
but one, a function or class, which is imported from the module when it is called.
"""

import ast
import dataclasses
import importlib
import importlib.util
import math
import pathlib
import re
from collections.abc import Callable, Iterable

from tfmisr._lazy import modules_of


@dataclasses.dataclass(frozen=True)
class Deferred:
    """The function or class in a row, imported from its module on first use.

    Attributes:
        module: Full name of the module.
        row: Name of the row in the module.
        field: Field of the row.
    """

    module: str
    row: str
    field: str

    @property
    def value(self) -> Callable:
        """The function or class itself."""
        return getattr(getattr(importlib.import_module(self.module), self.row), self.field)

    def __call__(self, *args, **kwargs):
        return self.value(*args, **kwargs)


def read(package: str, path: Iterable[str], row: type, deferred: str, *types: type) -> list:
    """Returns the rows in all public modules of a package, sorted by `order` and name.

    Args:
        package: `__name__` of the package.
        path: Its `__path__`.
        row: Dataclass of the rows; a module assigns one with `NAME = row(...)` at its top level.
        deferred: The field that is not read, but imported when it is used.
        *types: Dataclasses that may stand in the other fields.

    Raises:
        TypeError: A field of a row is neither a literal nor one of `types`.
        ValueError: Two rows have the same name, and the same `selected_by` where they have one.
    """
    start = re.compile(rf"^(\w+) = {row.__name__}\(", re.MULTILINE)
    found = []
    for name in modules_of(path):
        module = f"{package}.{name}"
        text = pathlib.Path(importlib.util.find_spec(module).origin).read_text(encoding="utf-8")
        for match in start.finditer(text):
            call = _statement(text[match.start() :]).value
            names = [field.name for field in dataclasses.fields(row)]
            values = dict(zip(names, call.args, strict=False)) | {k.arg: k.value for k in call.keywords}
            del values[deferred]
            where = f"{module}.{match[1]}"
            values = {field: _value(node, types, f"{where}: {field}") for field, node in values.items()}
            found.append(row(**values, **{deferred: Deferred(module, match[1], deferred)}))
    keys = [(r.name, getattr(r, "selected_by", "")) for r in found]
    if twice := [name for i, (name, key) in enumerate(keys) if (name, key) in keys[:i]]:
        raise ValueError(f"expected one {row.__name__} of each name in {package}, found two named {twice[0]}")
    return sorted(found, key=lambda r: (r.order, r.name))


def _statement(text: str) -> ast.Assign:
    """Returns the first statement of a text, which ends with a parenthesis; to parse all of it takes longer."""
    for end in re.finditer(r"\)\n", text):
        try:
            return ast.parse(text[: end.end()]).body[0]
        except SyntaxError:  # a parenthesis within the statement
            continue
    raise SyntaxError(f"expected a call at the top level, received {text.partition(chr(10))[0]!r}")


def _value(node: ast.expr, types: tuple[type, ...], where: str):
    if isinstance(node, ast.Dict):
        return {_value(k, types, where): _value(v, types, where) for k, v in zip(node.keys, node.values, strict=True)}
    if isinstance(node, ast.Tuple):
        return tuple(_value(item, types, where) for item in node.elts)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        known = next((t for t in types if t.__name__ == node.func.id), None)
        if known:
            keywords = {k.arg: _value(k.value, types, where) for k in node.keywords}
            return known(*(_value(argument, types, where) for argument in node.args), **keywords)
    if ast.unparse(node) == "math.inf":
        return math.inf
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise TypeError(
            f"{where} must be a literal, since it is read from the text. Received: {ast.unparse(node)}"
        ) from None
