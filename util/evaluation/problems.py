"""What could not be measured, in as few lines as say it all."""

from __future__ import annotations

from collections.abc import Sequence

from util.images.pairs import Problem


def problem_line(problems: Sequence[Problem]) -> str:
    """All of one method's problems in a line."""
    return "; ".join(problem_lines(problems))


def problem_lines(problems: Sequence[Problem], names: int = 8) -> list[str]:
    """A line for each kind of problem, however many images have it."""
    kinds: dict[str, list[Problem]] = {}
    for problem in problems:
        kinds.setdefault(problem.reason.replace(problem.stem, "\0"), []).append(problem)
    lines = []
    for of_kind in kinds.values():
        first, *others = of_kind
        also = ", ".join(problem.stem for problem in others[:names]) + ", ..." * (len(others) > names)
        like = f" (and {len(others)} like it: {also})" if others else ""
        lines.append(f"{first.stem}: {first.reason}{like}")
    return lines
