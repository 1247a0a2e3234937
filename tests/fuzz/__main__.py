"""``python -m tests.fuzz``: damaged checkpoints, images and YAML files, until something other than our error comes.

The cases are those of ``--seed``, each by its number. Exit status: 0 nothing found, 1 found.
"""

from __future__ import annotations

import argparse
import faulthandler
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.targets import TARGETS, Target

SLOW = 10.0  # seconds of the processor that no file of this size may take


def run_case(target: Target, folder: Path, seed: int, number: int) -> str:
    """Read one damaged file; what is wrong with the answer, or nothing."""
    rng = random.Random(f"{seed} {number}")
    name, content = rng.choice(target.samples)
    path = folder / name
    path.write_bytes(target.damage(content, rng))
    started = time.process_time()
    try:
        target.read(path)
    except target.error as error:
        if str(path) not in str(error):
            return f"the error does not name the file: {error}"
        if len(str(error)) > 2000:
            return f"the error has {len(str(error)):,} characters"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    seconds = time.process_time() - started
    return f"it took {seconds:.0f} s" if seconds > SLOW else ""


def fuzz(
    what: str, count: int, seed: int, start: int = 0, seconds: float = float("inf")
) -> tuple[int, list[str]]:
    """Run cases from number ``start`` on; how many there were, and what was found in which."""
    target, ends, found, number = TARGETS[what](), time.monotonic() + seconds, [], start
    with tempfile.TemporaryDirectory() as folder:
        for number in range(start, start + count):
            if time.monotonic() > ends:
                return number - start, found
            problem = run_case(target, Path(folder), seed, number)
            if problem:
                found.append(f"{what} --seed {seed} --start {number} --count 1: {problem}")
    return count, found


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("what", nargs="+", choices=[*TARGETS], help="what to damage")
    parser.add_argument("--count", type=int, default=100_000, help="cases of each (default: 100000)")
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="at most, for each (default: no limit)"
    )
    parser.add_argument("--seed", type=int, default=0, help="another one gives other cases (default: 0)")
    parser.add_argument("--start", type=int, default=0, help="number of the first case (default: 0)")
    args = parser.parse_args(argv)
    faulthandler.enable()
    total = []
    for what in args.what:
        done, found = fuzz(what, args.count, args.seed, args.start, args.seconds)
        print(f"{what}: {done:,} cases, {len(found)} found")  # noqa: T201
        print("\n".join(found[:20]))  # noqa: T201
        total += found
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
