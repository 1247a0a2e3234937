"""Places and devices of several processes, and what the first makes of their ends, without starting any."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from util import ranks
from util.images.pairs import PairFiles
from util.ranks import FailedElsewhere, LostProcess, World, connect, join_world, read_world
from util.run import shared_run
from util.run.messages import ShareEnd
from util.run.record import PairRecord, RunRecord
from util.run.shared_run import SharedRun


def test_alone_nothing_changes(monkeypatch: pytest.MonkeyPatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert join_world() == World()
    monkeypatch.setenv("WORLD_SIZE", "4")  # other programs set it too
    assert join_world() == World()
    with pytest.raises(OSError, match="as it was"), World().stage():
        raise OSError("as it was")
    threads = torch.get_num_threads()
    assert World().device("cpu", None).type == "cpu" and torch.get_num_threads() == threads


@pytest.mark.parametrize(
    "variables, world",
    [
        ({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}, World(5, 8, 1, 4)),
        ({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}, World(1, 2, 1, 2)),  # one machine
        ({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}, World()),
        ({"WORLD_SIZE": "4"}, World()),  # other programs set it too
        ({"LOCAL_RANK": "3"}, World()),
    ],
)
def test_the_place_is_what_torchrun_says(
    variables: dict[str, str], world: World, monkeypatch: pytest.MonkeyPatch
):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert read_world() == world


@pytest.mark.parametrize(
    "rank, size, local, message",
    [
        ("2", "2", "0", "cannot be"),
        ("0", "2", "2", "cannot be"),
        ("-1", "2", "0", "cannot be"),
        ("one", "2", "0", "no numb"),
    ],
)
def test_a_place_that_cannot_be_is_refused(
    rank: str, size: str, local: str, message: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    for name, value in {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": local}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        read_world()


def test_processes_that_do_not_find_each_other(monkeypatch: pytest.MonkeyPatch):
    def lonely(*_: Any, **__: Any) -> None:
        raise RuntimeError("timed out")

    monkeypatch.setattr(ranks.dist, "init_process_group", lonely)
    connect(World())  # alone there is nobody to find
    with pytest.raises(ValueError, match=r"do not find each other: timed out"):
        connect(World(0, 2))


def test_without_torch_distributed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(ranks.dist, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"without torch\.distributed"):
        join_world()


@pytest.mark.parametrize("name, gpu", [("auto", 0), ("cuda:1", None)])
def test_one_device_for_all_is_refused(name: str, gpu: int | None):
    with pytest.raises(ValueError, match="its own device"):
        World(1, 2, 1, 2).device(name, gpu)


def test_each_process_has_the_cuda_device_of_its_local_rank(monkeypatch: pytest.MonkeyPatch):
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    # without an index: the label that goes into the images is that of a single process
    assert World(5, 8, 1, 4).device("auto", None) == torch.device("cuda")
    assert chosen == [1]
    with pytest.raises(ValueError, match="4 processes on this machine, but 2 CUDA devices"):
        World(6, 8, 2, 4).device("auto", None)


def test_cores_are_shared_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch):
    given: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    World(0, 3, 0, 3).device("cpu", None)
    World(0, 32, 0, 16).device("cpu", None)
    assert given == [2, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    World(0, 3, 0, 3).device("cpu", None)
    assert given == [2, 1]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("mine", [False, True])
def test_what_torchrun_sets_is_not_the_users(mine: bool):
    """torchrun puts OMP_NUM_THREADS=1 into the environment of its children, not into the one it was started in."""
    child = """
import torch
torch.set_num_threads = lambda count: print("shared")
from util.ranks import World
World(0, 2, 0, 2).device("cpu", None)
"""
    agent = f"""
import os, subprocess, sys
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["TORCHELASTIC_RUN_ID"] = "x"
sys.exit(subprocess.run([sys.executable, "-c", {child!r}]).returncode)
"""
    env = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    env.update({"OMP_NUM_THREADS": "1"} if mine else {})
    done = subprocess.run([sys.executable, "-c", agent], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.strip() == ("" if mine else "shared"), done.stderr


class Scripted(World):
    """Rank 0 of several whose others say what is given."""

    others: tuple[Any, ...] = ()

    def gather(self, value: Any) -> list[Any]:
        return [value, *self.others]


def test_a_stage_fails_in_all():
    place = Scripted(0, 2)
    object.__setattr__(place, "others", ("no such file",))
    with pytest.raises(FailedElsewhere, match="no such file"), place.stage():
        pass
    with pytest.raises(FailedElsewhere, match="mine"), place.stage():
        raise ValueError("mine")

    class Once(Scripted):
        def gather(self, value: Any) -> list[Any]:
            assert value == "inner", "the others have met already"
            return [value]

    nested = Once(0, 2)
    with pytest.raises(FailedElsewhere, match="inner"), nested.stage(), nested.stage():
        raise ValueError("inner")


def test_a_lost_process_is_an_error_of_the_system(monkeypatch: pytest.MonkeyPatch):
    def broken(*_: Any) -> None:
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr(ranks.dist, "all_gather_object", broken)
    with pytest.raises(OSError, match=r"has died \(Connection closed by peer\)"):
        World(0, 2).gather(1)
    # a stage has nobody left to tell, and does not pass it off as its own error or as another's
    with pytest.raises(OSError, match="has died") as lost, World(0, 2).stage():
        raise ValueError("mine")
    assert isinstance(lost.value, LostProcess)


class FakeInbox:
    def __init__(self, ranks: range) -> None:
        self.ranks, self.ends, self.lost = ranks, dict[int, ShareEnd](), set[int]()
        self.replies: list[int] = []

    def reply(self, status: int) -> None:
        self.replies.append(status)


class Together(World):
    """Rank 0 of several that agree."""

    @contextlib.contextmanager
    def stage(self) -> Iterator[None]:
        yield

    def gather(self, value: Any) -> list[Any]:
        return [value] * self.size


@pytest.mark.parametrize(
    "ends, lost, status, words",
    [
        ({1: ShareEnd(), 2: ShareEnd()}, set(), 0, ""),
        ({1: ShareEnd(), 2: ShareEnd(stopped="the disk is full")}, set(), 1, "the disk is full"),
        ({2: ShareEnd(interrupted=True)}, {1}, 130, "rank 1 of 3 has died"),
        ({2: ShareEnd()}, {1}, 1, "rank 1 of 3 has died"),
    ],
)
def test_the_record_of_all(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ends: dict[int, ShareEnd],
    lost: set[int],
    status: int,
    words: str,
):
    monkeypatch.setattr(shared_run, "Inbox", FakeInbox)
    pairs = [PairFiles(stem, (Path(stem), Path(stem))) for stem in "abcdef"]
    record = RunRecord(tmp_path / "run.json", {})
    shared = SharedRun(
        Together(0, 3),
        record,
        pairs,
        [],
        lambda all_pairs, count: [all_pairs[n::count] for n in range(count)],
    )
    assert [files.stem for files in shared.pairs] == ["a", "d"] and shared.elsewhere == 4
    inbox: Any = shared.inbox
    assert inbox.ranks == range(1, 3)
    inbox.ends, inbox.lost, record.total = ends, lost, 6
    rest = {stem for rank, end in ends.items() if end == ShareEnd() for stem in "abcdef"[rank::3]} | {
        "a",
        "d",
    }
    for stem in sorted(rest, reverse=True):
        record.add(PairRecord(stem, "done", seconds=1.0))
    shared.complete()
    assert shared.exit_status() == status and inbox.replies == [status]
    kept = json.loads((tmp_path / "run.json").read_text())
    assert [pair["stem"] for pair in kept["pairs"]] == list("abcdef")
    untried = [pair for pair in kept["pairs"] if pair["stem"] not in rest]
    assert all(pair["status"] == "untried" and pair["reason"] for pair in untried)
    assert words in kept["stopped"] and bool(words) == bool(kept["stopped"])
    if words:
        assert f"stopped with {len(untried)} not tried: {words}" in record.summary([])
