"""HTML by elements: whatever text goes in comes out as text, so that no name can become markup."""

from __future__ import annotations

import html
from collections.abc import Iterable

_EMPTY = frozenset({"img", "input", "br"})


class Html(str):
    """Markup. Any other string is text, which :func:`element` and :func:`joined` escape."""

    __slots__ = ()


def text(content: object) -> Html:
    """Text as markup; half characters, from file names that are no Unicode, become escapes."""
    plain = str(content).encode("utf-8", "backslashreplace").decode()
    return Html(html.escape(plain.replace("\0", "\N{SYMBOL FOR NULL}"), quote=True))


def joined(children: Iterable[object], between: str = "") -> Html:
    """Markup as it is, everything else as text."""
    parts = [child if isinstance(child, Html) else text(child) for child in children]
    return Html(between.join(parts))


def element(tag: str, *children: object, **attributes: object) -> Html:
    """An element. ``class_`` is class, an underscore a hyphen; the value True stands alone, None and False vanish."""
    written = ""
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        key = name.rstrip("_").replace("_", "-")
        written += f" {key}" if value is True else f' {key}="{text(value)}"'
    return Html(f"<{tag}{written}>" + ("" if tag in _EMPTY else f"{joined(children)}</{tag}>"))
