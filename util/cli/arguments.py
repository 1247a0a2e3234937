"""Types of command-line arguments that several programs take."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Literal

from util.images.matching import parse_matching
from util.run.batching import BatchSize


def positive(text: str) -> int:
    """A whole number of at least 1. Raises ArgumentTypeError or ValueError, which argparse reports."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1")
    return number


def grey_levels(text: str) -> Literal["auto", "off"] | list[float]:
    """``auto``, ``off``, or a standard deviation of noise for each source, as ``10,0``."""
    if text in ("auto", "off"):
        return text
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither auto nor off, nor a number of grey levels for each source, such as 20,0"
        ) from None


def value_range(text: str) -> Literal["sequence"] | list[float]:
    """``sequence``, or the values ``LOW,HIGH`` that become black and white."""
    if text == "sequence":
        return text
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither sequence nor LOW,HIGH, such as 0,65535"
        ) from None
    return [low, high]


def matching(text: str) -> str:
    """``stem``, ``index`` or patterns, as they are, once they have been checked."""
    try:
        return parse_matching(text).text
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def batch_size(text: str) -> BatchSize:
    """A whole number of at least 1, or ``auto``."""
    if text == "auto":
        return "auto"
    try:
        return positive(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is neither a whole number nor auto") from None


def named_folder(text: str) -> tuple[str, Path]:
    """``NAME=DIR``."""
    name, equals, folder = text.partition("=")
    if not (name.strip() and equals and folder):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=DIR, such as CDDFuse=results/cddfuse")
    return name.strip(), Path(folder)


def two_labels(text: str) -> tuple[str, str]:
    """``FIRST,SECOND``."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not FIRST,SECOND, such as PET,MRI")
    return parts[0], parts[1]
