"""YAML files: what they say, or one line that names file, line and key."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from util.config_io import read_yaml

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)
# name: (content, words of the message)
BAD = {
    "twice": ("seed: 1\nem:\n  rho: 1\nseed: 2\n", "line 4: seed: is there twice"),
    "twice inside": ("em:\n  rho: 1\n  lamb: 2\n  rho: 3\n", "line 4: em.rho: is there twice"),
    "twice in two spellings": ('seed: 1\n"seed": 2\n', "line 2: seed: is there twice"),
    "alias bomb": (LAUGHS, "more than 10,000 values"),
    "alias of itself": ("a: &a [*a]\n", "nested deeper than 20 levels"),
    "400 digits": (f"seed: {'9' * 400}\n", "seed: 9999999999"),
    "400 digits inside": (f"em: {{rho: {'9' * 400}}}\n", "em.rho: 9999999999"),
    "nesting of 900": ("a: " + "[" * 900 + "]" * 900, "nested deeper"),
    "nesting of 900 mappings": ("{a: " * 900 + "1" + "}" * 900, "nested deeper"),
    "no end of nesting": ("[" * 100_000, "nested deeper"),
    "tag of Python": ("a: !!python/object/apply:os.system [true]\n", "line 1: a: the tag tag:yaml.org,2002:py"),
    "tag of one's own": ("a: !mine 3\n", "line 1: a: the tag !mine has no meaning here"),
    "binary": ("a: !!binary aGVsbG8=\n", "the tag"),
    "set": ("a: !!set {b}\n", "the tag"),
    "a number that is none": ("a: !!int x\n", "line 1: a: x is no value"),
    "month 13": ("a: 2020-13-45\n", "line 1: a: 2020-13-45 is no value"),
    "key that is a list": ("[1, 2]: 3\n", "line 1: a key must be a word"),
    "two documents": ("a: 1\n---\nb: 2\n", "is not valid YAML: line 2"),
    "tab": ("a:\n\t- 1\n", "is not valid YAML: line 2"),
    "no colon": ("a: 1\nb\n", "is not valid YAML: line 3"),
    "unknown alias": ("a: *b\n", "line 1: found undefined alias"),
    "no UTF-8": (b"a: \xff\n", "is not valid YAML"),
    "control characters": (b"a: \x00\n", "is not valid YAML"),
    "large": (b"#" * 2_000_000, "more than 1,048,576 bytes"),
    "long": ("a: [" + "1," * 20_000 + "]\n", "more than 10,000 values"),
    "list": ("- 1\n", "must hold a mapping"),
    "a number": (f"{'1' * 30}\n", "must hold a mapping"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_one_line_with_file_and_key(name: str, tmp_path: Path):
    content, words = BAD[name]
    path = tmp_path / "bad.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    started = time.process_time()
    with pytest.raises(ValueError, match=r"bad\.yaml") as caught:
        read_yaml(path)
    message = str(caught.value)
    assert words in message and "\n" not in message and len(message) < 300 + len(str(path))
    assert time.process_time() - started < 10


def test_what_yaml_can_say_is_still_understood(tmp_path: Path):
    path = tmp_path / "good.yaml"
    path.write_text(
        "a: &anchor {b: 1e-3, c: [1, 2.5, off, null]}\nd: *anchor\n1: 'text'\ne: 2020-01-02\nf: 1_000\n"
    )
    values = read_yaml(path)
    assert values["d"] == values["a"] == {"b": "1e-3", "c": [1, 2.5, False, None]}
    assert "text" in values.values() and values["f"] == 1000
    path.write_text("# nothing\n")
    assert read_yaml(path) == {}


def test_a_pipe_does_not_block(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(ValueError, match=r"pipe\.yaml: no regular file"):
        read_yaml(tmp_path / "pipe.yaml")
    with pytest.raises(ValueError, match="cannot read"):
        read_yaml(tmp_path)
