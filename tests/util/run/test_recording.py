"""``--record png | webp | gif``: files as published, or one animation in the order of time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

import sample
from tests.conftest import PriorFiles, make_pair
from util.images.animation import animation_text, shrink, write_animation
from util.images.image_io import read_image
from util.run.settings import FolderSettings

STEPS = 4


def run(tmp_path: Path, *more: str) -> int:
    line = ["--input", str(tmp_path / "input"), "--save_dir", str(tmp_path / "output")]
    return sample.main([*line, "--model_config", str(tmp_path / "tiny.yaml"), "--steps", str(STEPS), *more])


def frames(path: Path) -> list[np.ndarray]:
    with Image.open(path) as image:
        return [np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(image)]


def times(path: Path) -> list[int]:
    """Milliseconds of each frame; WebP tells them as they are decoded."""
    with Image.open(path) as image:
        found = []
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            image.load()
            found.append(image.info["duration"])
        return found


@pytest.fixture
def work(tmp_path: Path, tiny_prior: PriorFiles) -> Path:
    (tmp_path / "tiny.yaml").write_text(tiny_prior.config.read_text())
    make_pair(tmp_path / "input", "a", (64, 96), "vi")
    make_pair(tmp_path / "input", "b", (64, 96))
    return tmp_path


@pytest.mark.parametrize("flag", [["--record"], ["--record", "png"]])
def test_the_published_form_is_a_file_for_each_step(work: Path, flag: Sequence[str]):
    assert run(work, *flag) == 0
    names = sorted(path.name for path in (work / "output/progress/a").iterdir())
    assert names == [f"x_{number:04d}.png" for number in range(STEPS)]


@pytest.mark.parametrize("form", ["webp", "gif"])
def test_an_animation_shows_the_states_in_the_order_of_time(work: Path, form: str):
    """Against the published files: the last frame is x_0000. GIF keeps grey levels; WebP loses a few."""
    assert run(work, "--record") == 0 and run(work, "--record", form) == 0
    folder = work / "output/progress/a"
    shown = frames(folder / f"steps.{form}")
    assert len(shown) == STEPS
    for number, frame in enumerate(shown):
        state = read_image(folder / f"x_{STEPS - 1 - number:04d}.png").luma.astype(int)
        apart = np.abs(frame - state[:, :, None])
        assert apart.max() == 0 if form == "gif" else apart.mean() < 4
    colour = frames(folder / f"steps_color.{form}")[-1]
    final = read_image(work / "output/color/a.png").rgb
    assert final is not None and np.ptp(colour, axis=2).max() > 40
    assert np.corrcoef(colour.ravel(), final.ravel())[0, 1] > 0.95  # 256 colours, or a quarter of them all
    assert not (work / f"output/progress/b/steps_color.{form}").exists()
    *before, last = times(folder / f"steps.{form}")
    assert last == 2000 and set(before) == {400}


def test_what_is_recorded_is_not_recorded_again(work: Path, capsys: pytest.CaptureFixture[str]):
    assert run(work, "--record", "webp") == 0 and run(work, "--record", "webp") == 0
    assert "0 fused, 2 skipped" in capsys.readouterr().out
    (work / "output/progress/b/steps.webp").write_bytes(b"none")
    assert run(work, "--record", "webp") == 0
    assert "1 fused, 1 skipped" in capsys.readouterr().out
    assert len(frames(work / "output/progress/b/steps.webp")) == STEPS
    assert run(work, "--record", "webp", "--steps", "2") == 0
    assert len(frames(work / "output/progress/b/steps.webp")) == 2


@pytest.mark.parametrize("form", ["webp", "gif"])
def test_text_and_size_of_an_animation(form: str, tmp_path: Path):
    path = tmp_path / f"x.{form}"
    assert shrink(np.zeros((30, 1280), np.uint8)).shape == (15, 640)
    assert shrink(np.zeros((30, 40, 3), np.uint8)).shape == (30, 40, 3)
    levels = [np.full((32, 32), level, np.uint8) for level in (10, 200)]
    write_animation(path, levels, form, "a" * 64)  # type: ignore[arg-type]
    assert animation_text(path) == "a" * 64 and animation_text(tmp_path / "nothing") == ""
    write_animation(path, levels[:1], form, "one frame")  # type: ignore[arg-type]
    assert animation_text(path) == "one frame" and len(frames(path)) == 1


def test_other_forms_are_refused(work: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        run(work, "--record", "mp4")
    assert "invalid choice: 'mp4'" in capsys.readouterr().err
    with pytest.raises(ValueError, match="record is 'mp4', but must be png, webp, gif, True or False"):
        FolderSettings(work, record="mp4")  # type: ignore[arg-type]
    assert FolderSettings(work, record=True).record_form == "png" and FolderSettings(work).record_form is None


@pytest.mark.parametrize("name", ["batch_size", "limit", "max_pixels"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "many"])
def test_counts_that_cannot_be_are_refused(name: str, value: object, tmp_path: Path):
    with pytest.raises(ValueError, match=f"{name} is {value!r}, but must be a whole number of at least 1"):
        FolderSettings(tmp_path, **{name: value})  # type: ignore[arg-type]
