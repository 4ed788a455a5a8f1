"""Reads the tensors of a PyTorch file without PyTorch, and without unpickling: nothing in the file is ever run.

Such a file contains a pickle, a program that could do anything. Here its opcodes are only read
(`pickletools.genops`), and those that a dictionary of tensors needs are interpreted; all others are refused.
"""

import io
import math
import mmap
import os
import pickletools
import zipfile

import numpy as np

from tfmisr.edge.errors import InputError

_MAGIC = 0x1950A86A20F9469CFC6C  # first number of the format before PyTorch 1.6
_LARGEST_PROGRAM = 16 << 20
_MOST_COPIES = 4  # of all values, in tensors that share them
_TYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}


class _Refused(ValueError):
    """The pickle has an opcode or value that a dictionary of tensors does not need."""


class _Mark:
    pass


class _Name(str):
    """The global that an opcode names: compared with known names, never imported."""


class _Storage:
    def __init__(self, dtype, key, count):
        self.dtype, self.key, self.count = dtype, key, count


class _Tensor:
    def __init__(self, storage, offset, shape, strides):
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def read(self, contents):
        size = math.prod(self.shape)
        expected = [math.prod(self.shape[i + 1 :]) for i in range(len(self.shape))]
        if size > 1 and list(self.strides) != expected:
            raise _Refused("a tensor whose values do not lie in order")
        values = contents[self.storage.key]
        if self.offset < 0 or min(self.shape, default=0) < 0 or self.offset + size > len(values):
            raise _Refused("a tensor beyond its values")
        return values[self.offset : self.offset + size].reshape(self.shape)


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Returns the tensors of a file that `torch.save` made of a `state_dict`, in the old or the new format.

    Args:
        path: The file, `.pth` or `.pt`.

    Raises:
        InputError: It is no such file, or holds anything but tensors by name.
    """
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            tensors, contents = _read_zip(file) if content[:4] == b"PK\x03\x04" else _read_legacy(content)
            views = {name: tensor.read(contents) for name, tensor in _check_tensors(tensors)}
            _check_total(views, contents)
            return {name: np.array(values) for name, values in views.items()}
    except FileNotFoundError as error:
        raise InputError(f"expected a file of PyTorch tensors, found none at {path}") from error
    except (
        _Refused,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        OSError,
        zipfile.BadZipFile,
    ) as error:
        reason = error.args[0] if isinstance(error, _Refused) else type(error).__name__
        raise InputError(f"expected a file of PyTorch tensors by name at {path}, found {reason}") from error


def _check_tensors(tensors):
    if not isinstance(tensors, dict) or not tensors:
        raise _Refused("no dictionary")
    for name, value in tensors.items():
        if not isinstance(name, str) or not isinstance(value, _Tensor):
            raise _Refused("something other than tensors")
    return tensors.items()


def _check_total(views, contents):
    """Refuses tensors that share values so often that a small file fills the memory; tied weights are few."""
    total = sum(values.size for values in views.values())
    if total > _MOST_COPIES * sum(map(len, contents.values())):
        raise _Refused("many tensors that share their values")


def _read_zip(file):
    with zipfile.ZipFile(file) as archive:
        program = next((i for i in archive.infolist() if i.filename.endswith("/data.pkl")), None)
        # PyTorch never compresses; what is not compressed cannot grow.
        if program is None or any(i.compress_type != zipfile.ZIP_STORED for i in archive.infolist()):
            raise _Refused("another kind of archive")
        if program.file_size > _LARGEST_PROGRAM:
            raise _Refused("a description too long")
        storages = {}
        tensors = _unpickle(io.BytesIO(archive.read(program)), storages)
        folder = program.filename.removesuffix("data.pkl")
        _check_counts(storages, os.fstat(file.fileno()).st_size)
        contents = {s.key: _values(archive.read(f"{folder}data/{s.key}"), s) for s in storages.values()}
    return tensors, contents


def _read_legacy(content):
    storages = {}
    if _unpickle(content, {}) != _MAGIC:
        raise _Refused("another kind of file")
    for _ in ("version", "machine"):
        _unpickle(content, {})
    tensors = _unpickle(content, storages)
    _check_counts(storages, len(content))
    contents = {}
    for key in _unpickle(content, {}):
        storage = storages[key]
        if int.from_bytes(content.read(8), "little") != storage.count:
            raise _Refused("another number of values than declared")
        contents[key] = _values(content.read(storage.count * np.dtype(storage.dtype).itemsize), storage)
    return tensors, contents


def _check_counts(storages, size):
    if sum(s.count * np.dtype(s.dtype).itemsize for s in storages.values()) > size:
        raise _Refused("more values than the file has bytes for")


def _values(data, storage):
    if len(data) != storage.count * np.dtype(storage.dtype).itemsize:
        raise _Refused("fewer or more values than declared")
    return np.frombuffer(data, storage.dtype)


def _unpickle(file, storages: dict):
    """Returns what a pickle describes; storages that it names are added to `storages`."""
    stack, memo = [], {}
    for operation, argument, _ in pickletools.genops(file):
        name = operation.name
        if name == "STOP":
            return stack.pop()
        if name in ("PROTO", "FRAME"):
            continue
        if name in ("BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"):
            memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(memo[argument])
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name](argument))
        elif name in _STEPS:
            _STEPS[name](stack)
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop(), storages))
        else:
            raise _Refused(f"the instruction {name}")
    raise _Refused("no end")


def _storage(reference, storages):
    tag, type_name, key, _, count, *view = reference
    module, _, type_name = str(type_name).rpartition(" ")
    if tag != "storage" or module != "torch" or type_name not in _TYPES or any(view):
        raise _Refused(f"values of an unknown kind, {type_name}")
    if not isinstance(count, int) or count < 0 or not isinstance(key, str):
        raise _Refused("values without a number")
    storage = _Storage(_TYPES[type_name], key, count)
    if (known := storages.setdefault(key, storage)).dtype != storage.dtype or known.count != count:
        raise _Refused("values of two kinds")
    return known


def _call(stack):
    arguments, function = stack.pop(), stack.pop()
    if function == "collections OrderedDict" and len(arguments) <= 1:
        stack.append(dict(arguments[0]) if arguments else {})
    elif function in ("torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor"):
        storage, offset, shape, strides = arguments[:4]
        numbers = (offset, *shape, *strides)
        if not isinstance(storage, _Storage) or any(not isinstance(n, int) for n in numbers):
            raise _Refused("a tensor without values")
        stack.append(_Tensor(storage, offset, shape, strides))
    elif function == "torch._utils _rebuild_parameter" and isinstance(arguments[0], _Tensor):
        stack.append(arguments[0])
    else:
        raise _Refused(f"a call of {function}")


def _state(stack):
    """The attributes of a dictionary, such as its `_metadata`, are passed over."""
    stack.pop()
    if not isinstance(stack[-1], dict):
        raise _Refused("an object with a state")


def _since_mark(stack):
    last = max(i for i, item in enumerate(stack) if isinstance(item, _Mark))
    items = stack[last + 1 :]
    del stack[last:]
    return items


def _set_items(stack):
    items = _since_mark(stack)
    stack[-1].update(zip(items[::2], items[1::2], strict=True))


def _set_item(stack):
    value, key = stack.pop(), stack.pop()
    stack[-1].update({key: value})


def _append(stack):
    item = stack.pop()
    stack[-1].append(item)


def _tuple_of(count):
    def step(stack):
        items = stack[len(stack) - count :]
        del stack[len(stack) - count :]
        stack.append(tuple(items))

    return step


def _stack_global(stack):
    name, module = stack.pop(), stack.pop()
    stack.append(_Name(f"{module} {name}"))


_CONSTANTS = {
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "INT", "LONG"), lambda x: x),
    **dict.fromkeys(("BINUNICODE", "SHORT_BINUNICODE", "UNICODE", "BINFLOAT"), lambda x: x),
    **dict.fromkeys(("BINSTRING", "SHORT_BINSTRING"), str),
    "GLOBAL": _Name,
    "MARK": lambda _: _Mark(),
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "EMPTY_DICT": lambda _: {},
    "EMPTY_LIST": lambda _: [],
    "EMPTY_TUPLE": lambda _: (),
}
_STEPS = {
    "TUPLE": lambda stack: stack.append(tuple(_since_mark(stack))),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "LIST": lambda stack: stack.append(_since_mark(stack)),
    "REDUCE": _call,
    "BUILD": _state,
    "SETITEMS": _set_items,
    "SETITEM": _set_item,
    "APPENDS": lambda stack: (items := _since_mark(stack), stack[-1].extend(items)),
    "APPEND": _append,
    "STACK_GLOBAL": _stack_global,
}
