"""Names of places in the page, of which any text can be a part."""

from __future__ import annotations

import re


def _encoded(name: str) -> str:
    return re.sub("[^A-Za-z0-9]", lambda match: f"-{ord(match.group()):x}-", name)


def slug(name: str) -> str:
    return f"set-{_encoded(name)}"


def card_id(name: str, stem: str) -> str:
    return f"{slug(name)}--{_encoded(stem)}"
