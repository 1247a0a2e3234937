"""Work shared out to processes: order, errors, processes that are ended, and what is left of them."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from util import workers
from util.workers import share_out

ROOT = Path(workers.__file__).parents[1]
WORK = """
import os, time

def where(main, item):
    time.sleep(0.02 if os.getpid() == main else 0)  # so that the others get their share
    return item, os.getpid()

def noisy(main, item):
    print("among the answers?", flush=True)
    return where(main, item)

def fails_elsewhere(main, item):
    if os.getpid() != main:
        raise LookupError(f"no {item}")
    return where(main, item)

def ends_elsewhere(main, item):
    if os.getpid() != main and item % 2:
        os._exit(9)
    return where(main, item)

def prepared():
    global ready
    ready = True

def is_prepared(main, item):
    return where(main, item)[1], globals().get("ready")
"""
SCRIPT = """
import os, sys
from functools import partial
import shared
from util.workers import share_out

print("top", flush=True)
for item, pid in share_out(partial(shared.where, os.getpid()), range(100_000), 3, shared.where):
    if pid != os.getpid():
        print(pid, flush=True)
"""


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that the processes can import."""
    (tmp_path / "shared.py").write_text(WORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("shared", None)
    return importlib.import_module("shared")


def lost(item: int) -> tuple[str, int]:
    return "lost", item


def do(function: Any, count: int = 3, items: int = 60, **more: Any) -> list[Any]:
    return list(share_out(partial(function, os.getpid()), range(items), count, lost, **more))


def test_results_come_in_order_from_several_processes(shared: ModuleType):
    results = do(shared.where)
    assert [item for item, _ in results] == list(range(60))
    pids = {pid for _, pid in results}
    assert os.getpid() in pids and 2 <= len(pids) <= 3
    assert all(gone(pid) for pid in pids - {os.getpid()})


def test_what_a_process_prints_is_no_answer(shared: ModuleType, capfd: pytest.CaptureFixture[str]):
    assert [item for item, _ in do(shared.noisy)] == list(range(60))
    assert "among the answers?" in capfd.readouterr().err


def test_each_process_is_prepared(shared: ModuleType):
    for pid, ready in do(shared.is_prepared, prepare=shared.prepared):
        assert ready is (None if pid == os.getpid() else True)


def test_an_error_elsewhere_is_raised_here_with_its_traceback(shared: ModuleType):
    with pytest.raises(RuntimeError, match=r"(?s)Traceback.*fails_elsewhere.*LookupError: no \d+"):
        do(shared.fails_elsewhere)


def test_an_ended_process_costs_its_item_alone(shared: ModuleType):
    """And another takes its place."""
    results = do(shared.ends_elsewhere, count=2)
    taken = [place for place, result in enumerate(results) if result[0] == "lost"]
    assert taken and all(place % 2 for place in taken)
    assert [results[place] for place in taken] == [("lost", place) for place in taken]
    assert all(results[place][0] == place for place in range(60) if place not in taken)
    assert len({pid for place, (_, pid) in enumerate(results) if place not in taken}) > 1


def test_threads_do_it_where_no_process_can_be_started(shared: ModuleType, monkeypatch: pytest.MonkeyPatch):
    expected = [(item, os.getpid()) for item in range(20)]
    for broken in ("", "/nowhere/python", "/bin/false"):
        monkeypatch.setattr(sys, "executable", broken)
        assert do(shared.where, items=20) == expected


def gone(pid: int) -> bool:
    """Whether a process ends within five seconds, or has."""
    for _ in range(50):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        status = Path(f"/proc/{pid}/stat")
        if status.is_file() and status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True  # only its parent, which is gone too, could still ask for its status
        time.sleep(0.1)
    return False


@pytest.mark.skipif(os.name != "posix", reason="sends signals to groups of processes")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_processes_end_with_the_one_that_started_them(tmp_path: Path, number: signal.Signals):
    """Whatever ends it, and they say nothing; what stands unguarded in a script is run once."""
    (tmp_path / "shared.py").write_text(WORK)
    (tmp_path / "script.py").write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout and process.stderr
    lines: list[str] = []
    while len(set(lines)) < 3:  # both processes have answered
        lines.append(process.stdout.readline())
        assert lines[-1], process.stderr.read()
    os.killpg(process.pid, number)
    rest, error = process.communicate(timeout=30)
    assert process.returncode != 0
    assert (lines + rest.splitlines()).count("top\n") == 1 and "top" not in rest
    assert error.count("Traceback") <= (number == signal.SIGINT), error
    assert all(gone(int(line)) for line in set(lines) if line != "top\n")
