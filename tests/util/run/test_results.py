"""What makes a result count as done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from util.run.results import ResultWriter


def writer(**changes: Any) -> ResultWriter:
    description = {"device": "cpu", "precision": "fp32", "versions": {"ddfm": "1", "torch": "2"}, **changes}
    return ResultWriter(Path("out"), description, "crop", "auto", "oklab")


def test_fingerprints_tell_the_kind_of_device_and_not_which_one():
    cards = ("cuda (H100)", "cuda:0 (H100)", "cuda:1 (H200)")
    assert len({writer(device=card).fingerprint("a", "b") for card in cards}) == 1
    assert writer().fingerprint("a", "b") != writer(device=cards[0]).fingerprint("a", "b")


def test_fingerprints_tell_files_and_settings_and_not_libraries():
    first = writer().fingerprint("a", "b")
    assert first == writer(versions={"ddfm": "1", "torch": "3"}).fingerprint("a", "b")
    others = [writer().fingerprint("b", "a"), writer(precision="bf16").fingerprint("a", "b")]
    others.append(writer(versions={"ddfm": "2", "torch": "2"}).fingerprint("a", "b"))
    assert first not in others and len(set(others)) == 3
