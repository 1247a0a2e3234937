"""Batch sizes: decided by times and by lack of memory, made up here."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from util.memory import MemoryPlan, available_bytes, peak_bytes, ran_out_of_memory, resident_bytes
from util.run import batching
from util.run.batching import BatchSize, BatchSizes, Size, take_all

SMALL, LARGE = (32, 32), (64, 64)


class Machine:
    """Takes ``fixed + each * n`` seconds for n items, and holds ``memory`` pixels."""

    def __init__(self, sizes: BatchSizes, fixed: float = 1.0, each: float = 1.0, memory: int = 10**9) -> None:
        self.sizes, self.fixed, self.each, self.memory = sizes, fixed, each, memory
        self.tried: list[int] = []
        self.done: list[int] = []

    def take(self, items: list[int], size: Size = SMALL) -> list[int]:
        """The batches tried, in groups as a run makes them."""
        self.tried = []

        def attempt(batch: list[int]) -> float | None:
            self.tried.append(len(batch))
            if len(batch) * size[0] * size[1] > self.memory:
                return None
            self.done += batch
            return self.fixed + self.each * len(batch)

        while items:
            count = self.sizes.count(size)
            take_all(items[:count], size, self.sizes, attempt)
            items = items[count:]
        return self.tried


def test_doubles_while_that_is_worth_it(monkeypatch: pytest.MonkeyPatch):
    # seconds an item: 2, 1.5, 1.25, 1.125, 1.0625 (5.6 % less), 1.03125 (2.9 %)
    said: list[str] = []
    monkeypatch.setattr(batching.log, "info", said.append)
    machine = Machine(BatchSizes("auto"))
    assert machine.take(list(range(100))) == [1, 2, 4, 8, 16, 32, 16, 16, 5]
    assert machine.done == list(range(100))
    assert said == ["32x32: 16 at a time from now on (32 are no faster)"]


def test_a_number_is_taken_as_it_is():
    assert Machine(BatchSizes(3)).take(list(range(7))) == [3, 3, 1]


def test_lack_of_memory_halves_and_is_remembered():
    machine = Machine(BatchSizes("auto"), each=0.0, memory=5 * 32 * 32)
    assert machine.take(list(range(20))) == [1, 2, 4, 8, 4, 4, 4, 1]
    assert machine.take(list(range(5))) == [4, 1]
    # pixels count: 64x64 is four times as large: two would be as many pixels as were refused
    assert machine.take(list(range(2)), LARGE) == [1, 1]
    machine = Machine(BatchSizes(8), memory=3 * 32 * 32)
    assert machine.take(list(range(9))) == [8, 4, 2, 2, 2, 2, 1]
    assert machine.take(list(range(3)), (32, 64)) == [1, 1, 1]


def test_what_is_refused_once_for_large_images_may_be_tried_for_small_ones():
    sizes = BatchSizes(4)
    sizes.ran_out(LARGE, 4)
    assert sizes.count(LARGE) == 2 and sizes.count(SMALL) == 4


def test_never_plans_more_than_fits():
    machine = Machine(BatchSizes("auto", lambda pixels: pixels <= 4 * 32 * 32), each=0.0)
    assert machine.take(list(range(15))) == [1, 2, 4, 4, 4]


@given(
    st.one_of(st.just("auto"), st.integers(1, 40)),
    st.lists(st.tuples(st.sampled_from([SMALL, LARGE, (32, 64)]), st.integers(0, 40)), max_size=5),
    st.floats(0, 5),
    st.floats(0, 5),
    st.integers(0, 40 * 32 * 32),
)
def test_nothing_is_lost_or_done_twice(
    wanted: BatchSize, groups: list[tuple[Size, int]], fixed: float, each: float, memory: int
):
    machine = Machine(BatchSizes(wanted), fixed, each, memory)
    for size, count in groups:
        machine.done = []
        tried = machine.take(list(range(count)), size)
        alone_too_large = size[0] * size[1] > memory
        assert machine.done == ([] if alone_too_large else list(range(count)))
        assert len(tried) <= count + 6  # a batch of 40 is halved at most that often


class Meter:
    """A machine with 1000 bytes free, in a process that holds 100."""

    def __init__(self) -> None:
        self.resident, self.peak = 100, 100

    def plan(self, share: float) -> MemoryPlan:
        return MemoryPlan(share, lambda: 1100 - self.resident, lambda: self.resident, lambda: self.peak)


def test_memory_is_planned_from_what_was_taken():
    meter = Meter()
    plan = meter.plan(0.5)
    assert plan.fits(10**9)  # nothing is known yet: the first is a single pair
    meter.peak = 200
    plan.learn(10)  # 10 bytes a pixel
    assert plan.fits(50) and not plan.fits(51)
    meter.resident = 200  # what the process has kept already counts as available to it
    assert plan.fits(55) and not plan.fits(56)
    plan.learn(25)  # went through below the same peak: 4 bytes a pixel at most
    assert plan.fits(137) and not plan.fits(138)


def test_where_nothing_can_be_measured_all_fits():
    plan = MemoryPlan(0.1, lambda: None, lambda: None, lambda: None)
    plan.learn(10)
    assert plan.fits(10**12)


def test_this_process_is_measured_where_there_is_proc():
    for value in (available_bytes(), resident_bytes(), peak_bytes()):
        assert value is None or 2**20 < value < 2**50
    resident, peak = resident_bytes(), peak_bytes()
    assert resident is None or peak is None or resident <= peak * 1.01


def test_what_counts_as_lack_of_memory():
    words = (
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
    )
    assert ran_out_of_memory(RuntimeError(words)) and ran_out_of_memory(MemoryError())
    assert ran_out_of_memory(
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 byte")
    )
    assert ran_out_of_memory(torch.cuda.OutOfMemoryError("CUDA out of memory. Tried"))
    assert not ran_out_of_memory(RuntimeError("sizes differ")) and not ran_out_of_memory(
        OSError("out of memory")
    )


def test_torch_says_so_in_the_words_we_look_for():
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        torch.empty(2**46)
    assert ran_out_of_memory(caught.value), caught.value
