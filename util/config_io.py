"""Reading YAML configuration files: every key once, and nothing larger or deeper than a configuration can be."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import yaml

_MOST_BYTES = 1 << 20
_MOST_VALUES = 10_000  # counted as often as aliases repeat them
_DEEPEST = 20
_LONGEST_NUMBER = 40  # digits
_SHOWN = 60  # characters of a value, in an error
_KNOWN_TAGS = tuple(
    f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "timestamp")
)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file (an empty file is an empty mapping).

    Raises ValueError, naming the file, the key and what to do, when it cannot be read, holds no mapping, or has a
    key twice.
    """
    path = Path(path)
    try:
        data = _Reader(_text(path)).read()
    except OSError as error:
        raise ValueError(f"cannot read the configuration file {path}: {error.strerror or error}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        words = error.problem or error.context or "it cannot be parsed"
        raise ValueError(f"{path} is not valid YAML: {line}{_short(words)}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        words = (
            "it is nested too deep"
            if isinstance(error, RecursionError)
            else _short(" ".join(str(error).split()))
        )
        raise ValueError(f"{path} is not valid YAML: {words}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ValueError(f"{path} must hold a mapping of keys to values, but holds {type(data).__name__}")
    return data


def _text(path: Path) -> str:
    if path.exists() and not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
        raise ValueError("no regular file; give a YAML file")
    with path.open("rb") as stream:
        content = stream.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"more than {_MOST_BYTES:,} bytes, which is no configuration")
    return content.decode("utf-8")


class _Loader(yaml.SafeLoader):
    """Composes nodes no deeper than a configuration goes; Python's stack would end long before a file does."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        if self.depth > 2 * _DEEPEST:
            raise ValueError(f"line {self.line + 1}: nested deeper than {_DEEPEST} levels")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Reader:
    """Makes values of a document's nodes, counting them. Raises YAMLError, or ValueError with line and key."""

    def __init__(self, text: str) -> None:
        self._loader = _Loader(text)
        self._values = 0

    def read(self) -> Any:
        try:
            node = self._loader.get_single_node()
            return None if node is None else self._value(node, "", 0)
        finally:
            self._loader.dispose()

    def _value(self, node: yaml.Node, key: str, depth: int) -> Any:
        self._values += 1
        if self._values > _MOST_VALUES:
            raise _problem(node, key, f"more than {_MOST_VALUES:,} values, which is no configuration")
        if depth > _DEEPEST:
            raise _problem(node, key, f"nested deeper than {_DEEPEST} levels")
        if isinstance(node, yaml.MappingNode) and node.tag.endswith(":map"):
            return self._mapping(node, key, depth)
        if isinstance(node, yaml.SequenceNode) and node.tag.endswith(":seq"):
            return [
                self._value(item, f"{key}[{number}]", depth + 1) for number, item in enumerate(node.value)
            ]
        if isinstance(node, yaml.ScalarNode) and node.tag in _KNOWN_TAGS:
            return self._scalar(node, key)
        raise _problem(node, key, f"the tag {_short(node.tag)} has no meaning here")

    def _mapping(self, node: yaml.MappingNode, prefix: str, depth: int) -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        for name_node, value_node in node.value:
            if not isinstance(name_node, yaml.ScalarNode):
                raise _problem(name_node, prefix, "a key must be a word")
            name = self._value(name_node, prefix, depth + 1)
            key = f"{prefix}.{_short(str(name))}" if prefix else _short(str(name))
            if name in values:
                raise _problem(name_node, key, "is there twice; keep one of them")
            values[name] = self._value(value_node, key, depth + 1)
        return values

    def _scalar(self, node: yaml.ScalarNode, key: str) -> Any:
        text = node.value
        if node.tag.endswith((":int", ":float")) and len(text) > _LONGEST_NUMBER:
            raise _problem(
                node, key, f"{_short(text)} has {len(text)} digits, more than a number here may have"
            )
        try:
            return self._loader.construct_object(node)
        except (ValueError, ArithmeticError, LookupError, AttributeError) as error:
            raise _problem(node, key, f"{_short(text)} is no value ({error})") from error


def _problem(node: yaml.Node, key: str, words: str) -> ValueError:
    where = f"{key}: " if key else ""
    return ValueError(f"line {node.start_mark.line + 1}: {where}{words}")


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
