"""Dataclasses held to their annotations: from a parsed mapping, and whenever one is made.

Nothing here reads a file: :func:`from_mapping` takes the parsed mapping and the name to put into error messages.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import numbers
import reprlib
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union

T = TypeVar("T")

_SHORT = reprlib.Repr()  # of values in messages, which may hold anything
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80
_SHORT.maxlevel = 2


class ConfigError(ValueError):
    """A configuration file has an unknown, missing or ill-typed key. The message names file, key and remedy."""


class Table(dict[str, T]):
    """Things of one ``kind`` by name; another name is a ValueError that lists those there are."""

    def __init__(self, kind: str, entries: Mapping[str, T]) -> None:
        super().__init__(entries)
        self.kind = kind

    def __missing__(self, name: object) -> T:
        raise ValueError(f"there is no {self.kind} {name!r}; there are {', '.join(self)}")


def check_fields(config: Any, prefix: str = "") -> None:
    """Hold every field of a dataclass object to its annotation; call it first in ``__post_init__``.

    Whole numbers become floats where those are asked for. ``prefix`` is put before the names in messages (``"em."``).
    Raises ValueError that names the field and the values that it may have.
    """
    hints = typing.get_type_hints(type(config))
    for item in dataclasses.fields(config):
        if "from_mapping" in item.metadata:
            continue
        value = getattr(config, item.name)
        options = _options(hints[item.name])
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        if whole and float in options and int not in options:
            with contextlib.suppress(OverflowError):  # then it does not fit
                value = float(value)
            object.__setattr__(config, item.name, value)
        if not _fits(value, hints[item.name]):
            raise ValueError(
                f"{prefix}{item.name} is {_SHORT.repr(value)}, but must be {_describe(hints[item.name])}"
            )


def from_mapping(cls: type[T], data: object, source: str, prefix: str = "") -> T:
    """Build the dataclass ``cls`` from a parsed YAML mapping.

    ``source`` is the file named in errors; ``prefix`` the path of the mapping inside it (``"em."``).
    Raises :class:`ConfigError` for an unknown key, a missing key without default, or a value of the wrong type.
    """
    if not isinstance(data, dict):
        raise ConfigError(
            f"{source}: expected a mapping of keys at {prefix or 'the top level'}, got {_SHORT.repr(data)}"
        )
    fields = {f.name: f for f in dataclasses.fields(typing.cast(Any, cls))}
    hints = typing.get_type_hints(cls)
    unknown = [str(key) for key in data if key not in fields]
    if unknown:
        raise ConfigError(
            f"{source}: unknown key {prefix}{unknown[0]}; the keys here are {', '.join(fields)}"
        )
    missing = [
        name
        for name, f in fields.items()
        if name not in data and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{source}: the key {prefix}{missing[0]} is missing")
    values = {}
    for key, value in data.items():
        own = fields[key].metadata.get("from_mapping")  # of a field that has a reader of its own
        values[key] = (
            own(value, source, f"{prefix}{key}.")
            if own
            else _check(value, hints[key], source, f"{prefix}{key}")
        )
    try:
        return cls(**values)
    except ValueError as error:
        raise ConfigError(f"{source}: {error}") from error


def _check(value: object, hint: Any, source: str, key: str) -> object:
    """Return ``value``, brought to the type that is asked for where YAML has another idea, or raise ConfigError."""
    if dataclasses.is_dataclass(hint):
        return from_mapping(typing.cast(type, hint), value, source, prefix=f"{key}.")
    value = _reinterpret(value, hint)
    if _fits(value, hint):
        return value
    raise ConfigError(f"{source}: {key} is {_SHORT.repr(value)}, but must be {_describe(hint)}")


def _options(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else (hint,)


def _reinterpret(value: object, hint: Any) -> object:
    """Undo what YAML 1.1 makes of ``off`` (false) and ``1e-3`` (text), and turn whole numbers into floats."""
    options = _options(hint)
    lists = [option for option in options if typing.get_origin(option) is list]
    if isinstance(value, list) and lists:
        return [_reinterpret(item, typing.get_args(lists[0])[0]) for item in value]
    if value is False and any(
        typing.get_origin(o) is Literal and "off" in typing.get_args(o) for o in options
    ):
        return "off"
    if float in options and int not in options:
        if isinstance(value, int) and not isinstance(value, bool):
            with contextlib.suppress(OverflowError):  # then it does not fit
                return float(value)
        if isinstance(value, str) and str not in options:
            with contextlib.suppress(ValueError):
                return float(value)
    return value


def _fits(value: object, hint: Any) -> bool:
    for option in _options(hint):
        origin = typing.get_origin(option)
        if origin is Literal:
            if any(type(value) is type(allowed) and value == allowed for allowed in typing.get_args(option)):
                return True
        elif origin is list:
            if isinstance(value, list) and all(_fits(item, typing.get_args(option)[0]) for item in value):
                return True
        elif option is float:
            if isinstance(value, float) and math.isfinite(value):
                return True
        elif option is int:
            if isinstance(value, int) and not isinstance(value, bool):
                return True
        elif isinstance(value, option):
            return True
    return False


def _describe(hint: Any) -> str:
    names = {int: "an integer", float: "a number", str: "a string", bool: "true or false", type(None): "null"}
    words = []
    for option in _options(hint):
        origin = typing.get_origin(option)
        if origin is Literal:
            words.append("one of " + ", ".join(str(allowed) for allowed in typing.get_args(option)))
        elif origin is list:
            of = typing.get_args(option)[0]
            plural = {int: "integers", float: "numbers"}
            words.append(f"a list of {plural[of] if of in plural else f'({_describe(of)})'}")
        else:
            words.append(names.get(option, str(option)))
    return " or ".join(words)
