"""Types of command-line arguments that several programs take."""

from __future__ import annotations

import argparse
from typing import Literal


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
