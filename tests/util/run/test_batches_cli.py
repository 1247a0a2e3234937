"""Batches of ``python sample.py``: what does not fit is tried again in parts, and memory stays as it is."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import sample
from tests.conftest import PriorFiles, make_pair
from util.images.image_io import SourceImage
from util.images.pairs import find_pairs, in_order_of_size
from util.memory import resident_bytes
from util.run import fusing, runner

Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path, tiny_prior: PriorFiles) -> Run:
    """Runs sample.py with the tiny prior and two steps on ``input``, into ``output`` or another ``save_dir``."""
    (tmp_path / "diffusion.yaml").write_text("timestep_respacing: 2\n")
    line = ["--model_config", str(tiny_prior.config), "--diffusion_config", str(tmp_path / "diffusion.yaml")]
    line += ["--device", "cpu", "--input", str(tmp_path / "input")]
    return lambda *more, save_dir="output": sample.main(
        [*line, "--save_dir", str(tmp_path / save_dir), *more]
    )


def statuses(folder: Path) -> list[tuple[str, str]]:
    return [(p["stem"], p["status"]) for p in json.loads((folder / "output/run.json").read_text())["pairs"]]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened).astype(int)


def limit_batches(monkeypatch: pytest.MonkeyPatch, most: int, error: Exception) -> list[int]:
    """Makes sample.py fail with ``error`` beyond ``most`` pairs at once; the batches tried are listed."""
    fuse, tried = fusing.fuse, []

    def limited(*args: Any, **options: Any) -> Any:
        tried.append(len(args[1][0]))
        if len(args[1][0]) > most:
            raise error
        return fuse(*args, **options)

    monkeypatch.setattr(fusing, "fuse", limited)
    return tried


def test_auto_does_not_count_what_only_the_first_step_takes(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    """Compiling for a larger batch takes minutes; what counts is that its steps take no longer than one pair's."""
    for stem in "abcdefghi":
        make_pair(tmp_path / "input", stem)
    clock, tried = [0.0], []
    fuse: Callable[..., Any] = fusing.fuse

    def slow_start(*args: Any, **options: Any) -> Any:
        on_step, count = options["on_step"], len(args[1][0])
        tried.append(count)

        def timed(step: Any) -> None:
            clock[0] += 100.0 * count if step.index == 1 else 1.0
            on_step(step)

        return fuse(*args, **{**options, "on_step": timed})

    monkeypatch.setattr(fusing, "fuse", slow_start)
    monkeypatch.setattr(runner.time, "monotonic", lambda: clock[0])
    assert run("--batch_size", "auto") == 0
    assert tried == [1, 2, 4, 2]
    seconds = [p["seconds"] for p in json.loads((tmp_path / "output/run.json").read_text())["pairs"]]
    assert seconds[:3] == [101.0, 100.5, 100.5]  # as long as it took


OUT_OF_MEMORY = [
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_lack_of_memory_halves_the_batch(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, capsys: Any
):
    for stem in "abcdefghi":
        make_pair(tmp_path / "input", stem)
    assert run(save_dir="single") == 0
    tried = limit_batches(monkeypatch, 2, error)
    assert run("--batch_size", "8") == 0
    assert tried == [8, 4, 2, 2, 2, 2, 1]
    assert statuses(tmp_path) == [(stem, "done") for stem in "abcdefghi"]
    assert "64x64: 2 at a time from now on (memory does not hold 4)" in capsys.readouterr().err
    for path in (tmp_path / "output/recon").iterdir():  # a grey level: sums in another order
        assert np.abs(pixels(path) - pixels(tmp_path / "single/recon" / path.name)).max() <= 1


def test_auto_finds_a_batch_and_says_so(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    for number in range(12):
        make_pair(tmp_path / "input", f"{number:02d}")
    make_pair(tmp_path / "input", "00", (96, 96))  # the first in order of names, the last in order of size
    clock = iter(range(10**6))
    monkeypatch.setattr(runner.time, "monotonic", lambda: next(clock))  # every batch takes the same time
    tried = limit_batches(monkeypatch, 4, OUT_OF_MEMORY[0])
    assert run("--batch_size", "auto") == 0
    assert tried == [1, 2, 4, 4, 1] and statuses(tmp_path)[-1] == ("00", "done")
    for number in range(12, 25):
        make_pair(tmp_path / "input", f"{number:02d}")
    tried.clear()
    assert run("--batch_size", "auto", "--overwrite") == 0
    assert tried == [1, 2, 4, 8, 4, 4, 4, 4, 1, 1]
    assert capsys.readouterr().err.count("64x64: 4 at a time from now on (memory does not hold 8)") == 1
    assert len(statuses(tmp_path)) == 25


def test_too_little_memory_for_one_pair_names_the_remedy(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    for stem in "ab":
        make_pair(tmp_path / "input", stem)
    limit_batches(monkeypatch, 0, OUT_OF_MEMORY[0])
    assert run("--batch_size", "auto") == 1
    captured = capsys.readouterr()
    assert statuses(tmp_path) == [("a", "failed"), ("b", "failed")]
    assert captured.out.count("OutOfMemoryError") == 2 and "smaller tiles" in captured.out
    assert "Traceback" not in captured.err


def test_a_batch_that_fails_otherwise_is_taken_apart(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
):
    """Because of one of its pairs, or by itself: then batches of that size are not tried again."""
    for stem in "abcdef":
        make_pair(tmp_path / "input", stem)
    fuse, calls = fusing.fuse, []

    def wrong(*args: Any, **options: Any) -> Any:
        calls.append(len(args[1][0]))
        if len(calls) in (1, 3):  # the batch, and b alone
            raise RuntimeError("one pair is bad")
        return fuse(*args, **options)

    monkeypatch.setattr(fusing, "fuse", wrong)
    assert run("--batch_size", "3") == 1
    assert calls == [3, 1, 1, 1, 3]
    assert statuses(tmp_path) == [(stem, "failed" if stem == "b" else "done") for stem in "abcdef"]
    monkeypatch.setattr(fusing, "fuse", fuse)
    tried = limit_batches(monkeypatch, 2, RuntimeError("index too large for 32 bits"))
    assert run("--batch_size", "3", "--overwrite") == 0
    assert tried == [3, 1, 1, 1, 1, 1, 1]


def test_order_of_size(tmp_path: Path):
    sizes = {"a": (70, 100), "b": (64, 64), "c": (64, 96), "d": (64, 64)}
    for stem, size in sizes.items():
        make_pair(tmp_path, stem, size)
    turned = Image.new("L", (64, 64), 5)
    exif = turned.getexif()
    exif[0x0112] = 6
    for side in ("ir", "vi"):
        turned.resize((96, 64)).save(tmp_path / side / "e.png", exif=exif)  # upright: 64 wide, 96 high
        (tmp_path / side / "f.png").write_bytes(b"no image")
    pairs, _ = find_pairs(tmp_path / "ir", tmp_path / "vi")
    assert "".join(files.stem for files in in_order_of_size(pairs, "crop")) == "fbdace"
    assert "".join(files.stem for files in in_order_of_size(pairs, "pad")) == "fbdcea"


@pytest.mark.slow
def test_memory_does_not_grow_from_pair_to_pair(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch):
    """After 10 and after 50 pairs there are as many images and tensors, and the process is about as large."""
    for number in range(50):
        make_pair(tmp_path / "input", f"{number:02d}", (64, 96), colour="vi")
    (tmp_path / "diffusion.yaml").write_text("timestep_respacing: 1\n")
    objects, resident = [], []
    add = runner.RunRecord.add

    def measure(record: Any, pair: Any) -> None:
        add(record, pair)
        if len(record.pairs) in (10, 50):
            gc.collect()
            kept = [item for item in gc.get_objects() if issubclass(type(item), torch.Tensor | SourceImage)]
            objects.append(len(kept))
            resident.append(resident_bytes() or 0)

    monkeypatch.setattr(runner.RunRecord, "add", measure)
    assert run() == 0
    assert objects[0] == objects[1] > 0
    assert resident[1] - resident[0] < 4 * 2**20  # the heap settles for a while
