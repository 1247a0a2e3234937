"""Sequences: frames are paired and fused in order, nothing but the scene changes, runs go on, bad input is told."""

from __future__ import annotations

import errno
import itertools
import json
import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ddfm
import sample
from guided_diffusion.local.tone import active_histogram, spread
from tools import measure_flicker
from util.files import project_root
from util.images.image_io import read_image
from util.images.png import png_header_text
from util.images.registration.search import can_register
from util.presets import preset
from util.sequences import run
from util.sequences.frames import Frame, Frames, SequenceError, can_read_videos, open_frames
from util.sequences.pairing import by_time, paired
from util.sequences.steady import HOLD, Steady, calm
from util.sequences.video import VideoWriter

needs_itk = pytest.mark.skipif(
    not can_register(), reason="SimpleITK is not installed (requirements-register.txt)"
)
needs_av = pytest.mark.skipif(not can_read_videos(), reason="PyAV is not installed (requirements-video.txt)")


def scene(count: int = 6, noise: float = 2.0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A bright square that moves over a textured ground, as a thermal and a coloured camera see it."""
    generator = np.random.default_rng(0)
    coarse = generator.integers(40, 160, (8, 12), dtype=np.uint8)
    ground = np.asarray(Image.fromarray(coarse).resize((96, 64), Image.Resampling.BICUBIC)).astype(float)
    for number in range(count):
        heat = 60 + 0.2 * ground
        heat[20:36, 10 + 6 * number : 26 + 6 * number] = 230
        seen = np.stack([ground, ground * 0.8, ground * 0.6], axis=2)
        both = [image + noise * generator.standard_normal(image.shape) for image in (heat, seen)]
        ir, vi = (np.clip(image, 0, 255).astype(np.uint8) for image in both)
        yield ir, vi


def fused_scene(count: int = 6, **options: Any) -> list[np.ndarray]:
    ir, vi = ([*side] for side in zip(*scene(count), strict=True))
    return [frame.image for frame in ddfm.fuse_sequence(ir, vi, **options)]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for number, images in enumerate(scene()):
        for side, image in zip(("ir", "vi"), images, strict=True):
            (tmp_path / side).mkdir(exist_ok=True)
            Image.fromarray(image).save(tmp_path / side / f"{number:03d}.png")
    return tmp_path / "ir", tmp_path / "vi"


def line(folders: tuple[Path, Path], out: Path, *more: str) -> list[str]:
    paths = ["--ir", str(folders[0]), "--vi", str(folders[1]), "--save_dir", str(out)]
    return [*paths, "--preset", "local_fast", "--sequence", *more]


def frames_of(folder: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)) for path in sorted((folder / "frames").glob("*.png"))]


def test_streams_of_arrays_give_what_folders_give_with_any_number_of_workers(
    folders: tuple[Path, Path], tmp_path: Path
):
    assert sample.main(line(folders, tmp_path / "out")) == 0
    written = frames_of(tmp_path / "out")
    assert len(written) == 6 and written[0].shape == (64, 96, 3)
    for workers in (1, 3):
        images = zip(fused_scene(workers=workers), written, strict=True)
        assert all(np.array_equal(a, b) for a, b in images)


def test_a_run_goes_on_behind_the_frames_that_are_there(folders: tuple[Path, Path], tmp_path: Path):
    assert sample.main(line(folders, tmp_path / "whole")) == 0
    assert sample.main(line(folders, tmp_path / "parts", "--limit", "3")) == 0
    first = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "parts/frames").iterdir()}
    assert len(first) == 3
    assert sample.main(line(folders, tmp_path / "parts")) == 0
    for path in (tmp_path / "parts/frames").iterdir():
        assert path.name not in first or path.stat().st_mtime_ns == first[path.name]
    pairs = zip(frames_of(tmp_path / "whole"), frames_of(tmp_path / "parts"), strict=True)
    assert all(np.abs(a.astype(int) - b).max() <= 1 for a, b in pairs)  # estimates are kept rounded
    assert sample.main(line(folders, tmp_path / "parts", "--tone", "0.9")) == 0  # another setting: all anew
    assert not np.array_equal(frames_of(tmp_path / "parts")[0], frames_of(tmp_path / "whole")[0])


@needs_av
def test_videos_come_in_and_go_out(tmp_path: Path):
    for place, name in enumerate(("ir.mp4", "vi.mp4")):
        with VideoWriter(tmp_path / name, 12.5) as writer:
            for images in scene():
                writer.add(images[place])
    paths = ["--ir", str(tmp_path / "ir.mp4"), "--vi", str(tmp_path / "vi.mp4"), "--preset", "local_fast"]
    target = tmp_path / "there/fused.mp4"
    assert sample.main([*paths, "--save_dir", str(tmp_path / "out"), "--video", str(target)]) == 0
    fused = open_frames(target, "fused")
    assert fused.rate == pytest.approx(12.5)
    shown, written = [frame.rgb for frame in fused], frames_of(tmp_path / "out")
    assert len(shown) == len(written) == 6
    grey = [image.mean(axis=2) for image in (shown[3], written[3])]
    assert np.abs(grey[0] - grey[1]).mean() < 8  # as far as H.264 keeps it
    assert not list(target.parent.glob(".part-*"))


def test_estimates_run_on_and_begin_again_at_a_cut():
    steady = Steady()
    assert steady.noise([10.0, 0.0]) == [10.0, 0.0]
    assert steady.noise([0.0, 0.0])[0] == pytest.approx(9.0)  # one odd frame does not switch it off
    assert [steady.noise([0.0, 0.0]) for _ in range(20)][-1] == [0.0, 0.0]
    generator = torch.Generator().manual_seed(0)
    dark, bright = (torch.rand((1, 1, 40, 40), generator=generator) * 0.4 + low for low in (-0.9, 0.4))
    activity = torch.full_like(dark, 20.0)
    assert torch.equal(steady.tone(dark, 0.5, activity), spread(dark, 0.5, activity))
    steady.tone(dark + 0.02, 0.5, activity)
    assert torch.equal(steady.tone(bright, 0.5, activity), spread(bright, 0.5, activity))
    assert steady.histogram is not None
    assert torch.equal(steady.histogram, active_histogram(bright, activity).double())
    again = Steady.of_json(steady.to_json())
    assert torch.allclose(again.tone(bright, 0.5, activity), steady.tone(bright, 0.5, activity), atol=1e-3)


def test_what_stands_still_does_not_flicker_and_what_moves_does_not_lag():
    grey = [image.astype(float).mean(axis=2) for image in fused_scene(8)]
    sources = [vi.astype(float).mean(axis=2) for _, vi in scene(8)]
    still = np.s_[48:, :]
    change, own = (
        np.mean([np.abs(a - b)[still].mean() for a, b in itertools.pairwise(images)])
        for images in (grey, sources)
    )
    contrast = grey[0][still].std() / sources[0][still].std()
    assert change <= 1.5 * own * max(1.0, contrast)
    for number, image in enumerate(grey):
        square = image[24:32, 14 + 6 * number : 22 + 6 * number].mean()
        behind = image[24:32, 4 : 8 + 6 * (number - 1)].mean() if number > 1 else 0.0  # where it was before
        assert square > 190 and behind < square - 60


def test_a_camera_that_drifts_is_still_and_a_light_that_goes_on_is_not():
    before = [torch.zeros((1, 1, 32, 32))] * 2
    drift, light = ([before[0] + levels / 127.5, before[1]] for levels in (0.8, 12.0))
    assert float(calm(drift, before).min()) == pytest.approx(HOLD)
    assert float(calm(light, before).max()) < 0.01


@needs_itk
def test_one_transform_brings_all_infrared_frames_onto_the_visible_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    ir, vi = (read_image(project_root() / f"input/{side}/daylight.png").luma for side in ("ir", "vi"))
    for number in range(2):
        cut = np.s_[number : len(vi) - 2 + number]
        for side, image in (("ir", ir[cut, 8:]), ("vi", vi[cut, :-8])):
            (tmp_path / side).mkdir(exist_ok=True)
            Image.fromarray(image).save(tmp_path / side / f"{number}.png")
    folders = tmp_path / "ir", tmp_path / "vi"
    with caplog.at_level(logging.INFO, "ddfm"):
        assert sample.main(line(folders, tmp_path / "out", "--register", "translation")) == 0
    assert "all infrared frames are registered as the mean of the first 2 is" in caplog.text
    text = json.loads(png_header_text(tmp_path / "out/frames/000001.png")["ddfm"])["registration"]
    assert text["used"] and text["offset"] == pytest.approx([-8, 0], abs=0.5)
    straight = [frame.image for frame in ddfm.fuse_sequence([ir[:-2, :-8]], [vi[:-2, :-8]])]
    whole, found = (
        image[8:-8, 24:-24].astype(float) for image in (straight[0], frames_of(tmp_path / "out")[0])
    )
    assert np.abs(whole - found).mean() < 4
    assert sample.main(line(folders, tmp_path / "out", "--register", "translation")) == 0  # all are there
    noise = np.random.default_rng(0).integers(0, 256, (2, 64, 96), np.uint8)
    with pytest.raises(SequenceError, match="differ in size and cannot be registered"):
        list(ddfm.fuse_sequence([noise[0, :40]], [noise[1]], preset("local_fast", register="auto")))


@needs_av
def test_an_interruption_while_the_video_is_written_leaves_no_part_and_can_be_gone_on_from(
    folders: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    for number, images in enumerate(scene(40)):  # more than the encoder looks ahead
        for folder, image in zip(folders, images, strict=True):
            Image.fromarray(image).save(folder / f"{number:03d}.png")
    add, written, parts = VideoWriter.add, [], set[Path]()

    def interrupted(self: VideoWriter, image: np.ndarray) -> None:
        if len(written) == 35:
            parts.update((tmp_path / "out").glob(".part-*"))
            raise KeyboardInterrupt
        written.append(add(self, image))

    monkeypatch.setattr(VideoWriter, "add", interrupted)
    assert sample.main(line(folders, tmp_path / "out")) == 130
    assert "the same command goes on" in caplog.text
    assert parts and not any(path.exists() for path in parts)
    assert not list((tmp_path / "out").glob("*.mp4"))
    assert 35 <= len(frames_of(tmp_path / "out")) < 40
    monkeypatch.setattr(VideoWriter, "add", add)
    assert sample.main(line(folders, tmp_path / "out")) == 0
    assert len(list(open_frames(tmp_path / "out/video.mp4", "fused"))) == 40


@pytest.mark.parametrize("full", [0, 3])
def test_a_frame_that_cannot_be_written_is_named_and_those_before_are_whole(
    folders: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    full: int,
):
    """Also where the next has been fused meanwhile."""
    write = run.write_png

    def short_of_space(path: Path, *rest: Any, **options: Any) -> None:
        if path.name == f"{full:06d}.png":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, *rest, **options)

    monkeypatch.setattr(run, "write_png", short_of_space)
    assert sample.main(line(folders, tmp_path / "out")) == (1 if full else 2)
    assert f"{full:06d}.png: cannot be written (No space left on device)" in caplog.text
    assert len(frames_of(tmp_path / "out")) == full
    if full and can_read_videos():
        assert len(list(open_frames(tmp_path / "out/video.mp4", "fused"))) == full
    monkeypatch.setattr(run, "write_png", write)
    assert sample.main(line(folders, tmp_path / "out")) == 0
    assert len(frames_of(tmp_path / "out")) == 6


@pytest.mark.parametrize("failing", ["getting", "doing"])
def test_jobs_are_done_in_order_by_another_thread_while_the_next_come(failing: str):
    order: list[tuple[str, int]] = []
    threads: set[int] = set()

    def job(number: int) -> None:
        threads.add(threading.get_ident())
        if failing == "doing" and number == 3:
            raise OSError("the third")
        order.append(("done", number))

    def jobs() -> Iterator[Callable[[], None]]:
        for number in range(5):
            if failing == "getting" and number == 3:
                raise ValueError("the third")
            order.append(("come", number))
            yield partial(job, number)

    finished = 0
    with pytest.raises((ValueError, OSError), match="the third"):
        for _ in run._done_behind(jobs()):
            finished += 1
            assert ("done", finished - 1) in order
    assert finished == 3 and [number for what, number in order if what == "done"] == [0, 1, 2]
    assert len(threads) == 1 and threading.get_ident() not in threads


def test_a_summary_that_cannot_be_printed_is_told(
    folders: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setattr(sample, "say", lambda text: "No space left on device")
    assert sample.main(line(folders, tmp_path / "out")) == 1
    assert "the summary cannot be printed (No space left on device); the frames are in" in caplog.text
    assert len(frames_of(tmp_path / "out")) == 6


def test_frames_of_other_rates_are_paired_by_nearest_time():
    def at(rate: float, count: int) -> Frames:
        frames = [Frame(np.full((4, 4, 3), number, np.uint8), number / rate) for number in range(count)]
        return Frames(f"{rate}", frames, count, rate)

    found = [int(a.rgb[0, 0, 0]) for a, _ in paired(at(30, 30), at(10, 10))]
    assert found == [0, 3, 6, 9, 12, 15, 18, 21, 24, 27]
    assert [int(a.rgb[0, 0, 0]) for a, _ in by_time(at(10, 3), at(30, 30))] == [0, 0, 1, 1, 1, 2, 2, 2, 2, 2]


@needs_av
def test_bad_input_is_told_with_file_and_remedy(
    folders: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video" * 100)
    (tmp_path / "empty").mkdir()

    def refused(ir: Path, vi: Path, words: str, *more: str) -> None:
        caplog.clear()
        assert sample.main(line((ir, vi), tmp_path / "refused", *more)) == 2
        assert words in caplog.text

    refused(bad, folders[1], "bad.mp4: not a readable video")
    refused(tmp_path / "empty", folders[1], "empty holds no image")
    refused(tmp_path / "none.mp4", folders[1], "there is no such video or folder of frames")
    refused(folders[0] / "000.png", folders[1], "an image, not a video; give the folder of the frames")
    refused(*folders, "--contact_sheet is not for sequences", "--contact_sheet")
    (folders[1] / "005.png").unlink()
    refused(*folders, "frames are paired by number: cut them to one length")
    caplog.clear()
    assert sample.main(["--ir", str(folders[0]), "--sequence", "--save_dir", str(tmp_path)]) == 2
    assert "a sequence needs --ir and --vi" in caplog.text


def test_a_size_that_changes_ends_the_sequence_there(folders: tuple[Path, Path], tmp_path: Path):
    for folder in folders:
        Image.fromarray(np.arange(32 * 40, dtype=np.uint8).reshape(32, 40)).save(folder / "004.png")
    assert sample.main(line(folders, tmp_path / "out")) == 1
    assert len(frames_of(tmp_path / "out")) == 4
    with pytest.raises(SequenceError, match="frame 4 is 40x32, but those before are 96x64"):
        list(ddfm.fuse_sequence(*folders))


def test_without_the_extra_frames_come_alone_and_videos_are_refused(
    folders: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setattr("util.sequences.frames.can_read_videos", lambda: False)
    assert sample.main(line(folders, tmp_path / "out")) == 0
    assert len(frames_of(tmp_path / "out")) == 6 and not (tmp_path / "out/video.mp4").exists()
    assert "frames alone, no MP4: videos need PyAV" in caplog.text
    (tmp_path / "a.mp4").write_bytes(b"")
    assert sample.main(line((tmp_path / "a.mp4", folders[1]), tmp_path / "out")) == 2
    assert "pip install -r requirements-video.txt" in caplog.text


@pytest.mark.parametrize(
    ("array", "words"),
    [(np.zeros((64, 64)), "of uint8"), (np.zeros((64, 64, 4), np.uint8), "4 channels"), ("x", "of uint8")],
)
def test_arrays_that_are_no_frames_are_refused(array: Any, words: str):
    with pytest.raises(SequenceError, match=f"infrared frames: .*{words}"):
        list(ddfm.fuse_sequence([array], [np.zeros((64, 64), np.uint8)]))


def test_flicker_is_measured(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]):
    paths = ["--fused", str(folders[1]), "--ir", str(folders[0]), "--vi", str(folders[1])]
    assert measure_flicker.main(paths) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[2].split("|")[2:] == rows[4].split("|")[2:]  # the visible frames against themselves
    assert measure_flicker.main([*paths[:-1], str(folders[1] / "none")]) == 2
