"""Runs the commands of a page for users, step by step, and prints how long each took, as Markdown.

    python -m tools.time_pages engineer --write

In a folder of its own with the sample pairs, and with what the pages name (ir.png, vi.png, frames, brain, data) made
of them; frames are of 640x480. ``pip install`` is left out, and ``python app.py`` is timed until the page answers.
``--write`` puts the times into the page, between ``<!-- times -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from tools import resumable
from util.cli.arguments import positive
from util.files import project_root
from util.markdown import fill_card, markdown_rows

USERS = ("researcher", "engineer", "clinician")
SIZE = 640, 480
PATIENCE = 120.0  # seconds until the page must answer
HEADS = ("step", "command", "time")


def page_of(user: str) -> Path:
    """Of one of :data:`USERS`."""
    return project_root() / "docs" / f"{user}.md"


def steps(text: str) -> Iterator[tuple[str, str, str]]:
    """The heading, the language and each command of a page; a block of Python is one.

    Headings are of the second order; what stands before the first has none. Lines that are empty or remarks are no
    commands, and one that ends in a backslash goes on in the next.
    """
    for part in re.split(r"^## ", f"\n{text}", flags=re.MULTILINE):
        heading, _, rest = part.partition("\n")
        for language, block in re.findall(r"^```(bash|python)\n(.*?)^```", rest, re.DOTALL | re.MULTILINE):
            lines = [block] if language == "python" else block.replace("\\\n", " ").splitlines()
            yield from (
                (heading, language, line) for line in lines if line.strip() and line.lstrip()[0] != "#"
            )


def prepare(place: Path, frames: int) -> None:
    """What the pages name, below ``place``."""
    root = project_root()
    for name in ("input", "models", "configs"):
        shutil.copytree(root / name, place / name)
    for side in ("ir", "vi"):
        with Image.open(root / "input" / side / "daylight.png") as image:
            image.save(place / f"{side}.png")
            (place / "frames" / side).mkdir(parents=True)
            for number in range(frames):
                image.resize(SIZE, Image.Resampling.BICUBIC).save(place / f"frames/{side}/{number:03d}.png")
        (place / "data/RoadScene" / side).mkdir(parents=True)
        for stem in ("daylight", "night_street"):
            shutil.copyfile(root / f"input/{side}/{stem}.png", place / f"data/RoadScene/{side}/{stem}.png")
    for name, side in (("pet", "ir"), ("mri", "vi")):
        (place / "brain" / name).mkdir(parents=True)
        shutil.copyfile(root / f"input/{side}/mri_pet.png", place / f"brain/{name}/mri_pet.png")


def timed(language: str, command: str, place: Path) -> float:
    """Seconds that a command takes. Raises ValueError with what it says where it fails."""
    environment = {**os.environ, "PYTHONPATH": str(project_root())}
    words = [sys.executable, "-c", command] if language == "python" else shlex.split(command)
    if words[0] == "python":
        words[0] = sys.executable
    if words[1].endswith(".py"):
        words[1] = str(project_root() / words[1])
    started = time.monotonic()
    if Path(words[1]).name == "app.py":
        return _until_it_answers(words, place, environment)
    done = subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{command}: exit status {done.returncode}: {done.stderr[-500:]}")
    return time.monotonic() - started


def _until_it_answers(words: list[str], place: Path, environment: dict[str, str]) -> float:
    started = time.monotonic()
    server = subprocess.Popen(
        [*words, "--port", "7869"], cwd=place, env=environment, stderr=subprocess.DEVNULL
    )
    try:
        while time.monotonic() - started < PATIENCE and server.poll() is None:
            try:
                with urllib.request.urlopen("http://127.0.0.1:7869"):
                    return time.monotonic() - started
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise ValueError(f"the page does not answer at port 7869 within {PATIENCE:.0f} s")
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


def table(user: str, frames: int) -> str:
    """A row a command. Raises ValueError."""
    text = page_of(user).read_text(encoding="utf-8")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        prepare(place, frames)
        for heading, language, command in steps(text):
            if command.startswith("pip "):
                continue
            seconds = timed(language, command, place)
            shown = "the block of Python" if language == "python" else f"`{' '.join(command.split())}`"
            rows.append([heading, shown, f"{seconds:.1f} s"])
    return markdown_rows(HEADS, *rows)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="tools.time_pages", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("user", choices=USERS, help="whose page")
    parser.add_argument(
        "--frames", type=positive, default=12, metavar="N", help="of a sequence (default: %(default)s)"
    )
    parser.add_argument("--write", action="store_true", help="put the times into the page too")
    args = parser.parse_args(argv)

    def work() -> None:
        rows = table(args.user, args.frames)
        print(rows)
        if args.write:
            fill_card(page_of(args.user), {"times": rows})

    return resumable.run(work)


if __name__ == "__main__":
    sys.exit(main())
