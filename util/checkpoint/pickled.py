"""What torch.save pickles, read as data: names, numbers and descriptions of tensors. Nothing is looked up or called.

Pickle is a program for a stack machine. This one knows the instructions that torch.save writes, and in place of the
objects that they name it puts their descriptions; a name that it does not know ends it. Python's own machines, and
torch's, make objects of the sizes that the file asks for.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO

from util.checkpoint.stored import (
    ForeignObject,
    Malformed,
    Name,
    Storage,
    StoredTensor,
    fill,
    made_by,
    storage_of,
)

MOST_INSTRUCTIONS = 2_000_000  # some thirty a tensor, with its name


def read_pickle(stream: BinaryIO) -> tuple[Any, list[Storage]]:
    """The value of the pickle at this place of a file, which is left behind it, and the storages that it names.

    The value: lists, tuples, dictionaries, text, numbers, :class:`StoredTensor`. Raises Malformed, ForeignObject.
    """
    try:
        return _run(stream)
    except (Malformed, ForeignObject):
        raise
    except (
        Exception
    ) as error:  # stacks that are empty, counts that are text: whatever a damaged file asks for
        raise Malformed(f"{type(error).__name__}: {error}") from error


def _run(stream: BinaryIO) -> tuple[Any, list[Storage]]:
    machine = _Machine()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if count > MOST_INSTRUCTIONS:
            raise Malformed(f"more than {MOST_INSTRUCTIONS:,} instructions")
        if opcode.name == "STOP":
            return machine.stack.pop(), machine.storages
        if opcode.name in _CONSTANTS:
            machine.stack.append(_CONSTANTS[opcode.name](argument))
        elif opcode.name in _INSTRUCTIONS:
            _INSTRUCTIONS[opcode.name](machine, argument)
        else:
            raise Malformed(f"the instruction {opcode.name} is none of torch.save")
    raise Malformed("it does not end")


class _Machine:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.storages: list[Storage] = []

    def mark(self, _: None) -> None:
        self.marks.append(len(self.stack))

    def since_mark(self) -> list[Any]:
        start = self.marks.pop()
        if start > len(self.stack):
            raise Malformed("a mark beyond the stack")
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def tuple_of(self, count: int) -> None:
        if count > len(self.stack):
            raise Malformed("a tuple of more than there is")
        items = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        self.stack.append(items)

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise Malformed("something is appended to what is no list")
        target.extend(items)

    def set_items(self, items: list[Any]) -> None:
        fill(self.stack[-1], list(zip(items[::2], items[1::2], strict=True)))

    def two(self) -> list[Any]:
        second, first = self.stack.pop(), self.stack.pop()
        return [first, second]

    def refer(self, _: None) -> None:
        self.storages.append(storage_of(self.stack.pop()))
        self.stack.append(self.storages[-1])

    def call(self, _: None) -> None:
        function, arguments = self.two()
        if type(function) is not Name or type(arguments) is not tuple:
            raise Malformed("a call of what cannot be called")
        self.stack.append(made_by(function.name, arguments))

    def build(self, _: None) -> None:
        """Attributes of an object, such as the version of a state dict: of no use here."""
        self.stack.pop()
        if not isinstance(self.stack[-1], dict | StoredTensor | Name):
            raise Malformed("attributes of what has none")


# by the names of pickletools
_CONSTANTS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(
        ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING"),
        lambda arg: arg,
    ),
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "EMPTY_DICT": lambda _: {},
    "EMPTY_LIST": lambda _: [],
    "EMPTY_SET": lambda _: Name("builtins.set"),
    "EMPTY_TUPLE": lambda _: (),
    "GLOBAL": lambda arg: Name(arg.replace(" ", ".").replace("__builtin__.", "builtins.")),
}
_INSTRUCTIONS: dict[str, Callable[[_Machine, Any], Any]] = {
    "PROTO": lambda machine, _: None,
    "MARK": _Machine.mark,
    **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda machine, arg: machine.stack.append(machine.memo[arg])),
    **dict.fromkeys(
        ("BINPUT", "LONG_BINPUT"), lambda machine, arg: machine.memo.update({arg: machine.stack[-1]})
    ),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "APPEND": lambda machine, _: machine.append([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.since_mark()),
    "SETITEM": lambda machine, _: machine.set_items(machine.two()),
    "SETITEMS": lambda machine, _: machine.set_items(machine.since_mark()),
    "BINPERSID": _Machine.refer,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "BUILD": _Machine.build,
}
