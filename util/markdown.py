"""Tables in Markdown, and putting them into a document."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from util.files import write_atomically


def markdown_rows(*rows: Sequence[str]) -> str:
    """Rows of cells as a Markdown table, the first being the head."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def fill_card(card: Path, sections: Mapping[str, str]) -> None:
    """Replace what stands in ``card`` between ``<!-- NAME -->`` and ``<!-- end -->`` by the text of that name.

    Raises ValueError for a name whose marks are missing, OSError when the file cannot be read or written.
    """
    text = card.read_text(encoding="utf-8")
    for name, content in sections.items():
        pattern = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
        text, count = pattern.subn(lambda match, new=content: f"{match[1]}{new}\n{match[2]}", text)
        if count != 1:
            raise ValueError(f"{card} has {count} places <!-- {name} --> ... <!-- end -->, not one")
    write_atomically(card, text.encode())
