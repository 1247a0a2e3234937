"""Groups of more than two sources from folders: results, colour, messages, resumption."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import ddfm
import sample
from util.images.pairs import find_pairs
from util.run import fusing
from util.run.results import ResultWriter

Run = Callable[..., int]
TINTS = ((255, 120, 120), (120, 255, 120), (120, 120, 255))


@pytest.fixture
def stacks(tmp_path: Path) -> list[Path]:
    """Three folders of two scenes in colour, each sharp in a third of its own (of 32 columns) and tinted its own."""
    rng = np.random.default_rng(0)
    folders = [tmp_path / f"plane{number}" for number in range(3)]
    for stem in ("a", "b"):
        scene = rng.integers(60, 196, (64, 96)).astype(float)
        for number, folder in enumerate(folders):
            image = np.full_like(scene, 128.0)
            part = slice(32 * number, 32 * (number + 1))
            image[:, part] = scene[:, part]
            folder.mkdir(exist_ok=True)
            rgb = image[..., None] * np.array(TINTS[number]) / 255
            Image.fromarray(rgb.astype(np.uint8)).save(folder / f"{stem}.png")
    return folders


@pytest.fixture
def run(tmp_path: Path, stacks: list[Path]) -> Run:
    """Runs sample.py on the three folders by local fusion in closed form."""

    def run(*more: str, sources: list[Path] = stacks, **fusion: Any) -> int:
        em = {"variant": "local_fast", "task": "focus"}
        (tmp_path / "f.yaml").write_text(yaml.safe_dump({"em": em, "prior": False, "fit": "pad"} | fusion))
        line = ["--fusion_config", str(tmp_path / "f.yaml"), "--save_dir", str(tmp_path / "out")]
        return sample.main([*line, "--device", "cpu", "--sources", *map(str, sources), *more])

    return run


def record(tmp_path: Path) -> dict[str, Any]:
    return json.loads((tmp_path / "out/run.json").read_text())


def image(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_three_sources_give_what_the_door_gives(run: Run, stacks: list[Path], tmp_path: Path):
    assert run("--record") == 0
    assert record(tmp_path)["counts"] == {"done": 2, "skipped": 0, "failed": 0}
    fused = ddfm.fuse(
        None, [folder / "a.png" for folder in stacks], rectification=ddfm.LocalFast(task="focus")
    )
    assert fused.color is not None
    assert np.array_equal(image(tmp_path / "out/recon/a.png"), fused.grey)
    assert np.array_equal(image(tmp_path / "out/color/a.png"), fused.color)
    assert len(list((tmp_path / "out/progress/a").iterdir())) == 1
    told = json.loads(Image.open(tmp_path / "out/recon/a.png").text["ddfm"])  # pyright: ignore
    assert told["sources"] == ["a.png"] * 3 and "ir" not in told
    # in the middle of its third each is the sharp one, and the colour is its own
    for number in range(3):
        middle = fused.color[16:48, 32 * number + 10 : 32 * number + 22].reshape(-1, 3).mean(axis=0)
        assert middle.argmax() == number, middle


def test_a_batch_gives_what_one_by_one_gives(run: Run, tmp_path: Path):
    assert run() == 0
    alone = image(tmp_path / "out/color/b.png")
    assert run("--batch_size", "2", "--overwrite") == 0
    assert np.abs(image(tmp_path / "out/color/b.png").astype(int) - alone).max() <= 1


def test_what_is_there_is_skipped_until_one_source_of_it_changes(
    run: Run, stacks: list[Path], tmp_path: Path
):
    assert run() == 0 and run() == 0
    assert record(tmp_path)["counts"]["skipped"] == 2
    Image.fromarray(image(stacks[2] / "a.png")[::-1]).save(stacks[2] / "a.png")
    assert run() == 0
    assert record(tmp_path)["counts"] == {"done": 1, "skipped": 1, "failed": 0}
    assert run(sources=[stacks[1], stacks[0], stacks[2]]) == 0  # another order is another fusion
    assert record(tmp_path)["counts"]["done"] == 2


def test_two_sources_are_a_pair(run: Run, stacks: list[Path], tmp_path: Path):
    """By --sources or by --ir and --vi: the same files count as done."""
    assert run(sources=stacks[:2]) == 0
    told = json.loads(Image.open(tmp_path / "out/recon/a.png").text["ddfm"])  # pyright: ignore
    assert (told["ir"], told["vi"]) == ("a.png", "a.png")
    line = ["--fusion_config", str(tmp_path / "f.yaml"), "--save_dir", str(tmp_path / "out")]
    line += ["--device", "cpu", "--ir", str(stacks[0]), "--vi", str(stacks[1])]
    assert sample.main(line) == 0
    assert record(tmp_path)["counts"]["skipped"] == 2


def test_one_bad_scene_costs_only_itself(run: Run, stacks: list[Path], tmp_path: Path, capsys: Any):
    (stacks[1] / "b.png").unlink()
    (stacks[2] / "b.png").unlink()
    Image.new("L", (64, 64)).save(stacks[2] / "c.png")
    assert run() == 1
    reasons = {pair["stem"]: pair["reason"] for pair in record(tmp_path)["pairs"] if pair["reason"]}
    assert set(reasons) == {"b", "c"}
    assert "plane1 holds no image b.* and " in reasons["b"] and "plane2 holds no image b.*" in reasons["b"]
    Image.fromarray(image(stacks[0] / "a.png")[:40]).save(stacks[2] / "a.png")
    assert run("--overwrite") == 1
    reason = {pair["stem"]: pair["reason"] for pair in record(tmp_path)["pairs"]}["a"]
    assert "96x64, " in reason and "plane2/a.png is 96x40; register" in reason
    capsys.readouterr()
    assert run("--dry_run") == 1 and "would fuse" not in capsys.readouterr().err


def test_one_colour_can_be_chosen(run: Run, tmp_path: Path):
    assert run(color=2) == 0
    colours = image(tmp_path / "out/color/a.png").reshape(-1, 3).mean(axis=0)
    assert colours.argmax() == 1


@pytest.mark.parametrize(
    "fusion, flags, words",
    [
        ({"em": {"variant": "released"}}, [], "3 sources, but em.variant released takes 2: choose local"),
        ({"em": {"variant": "paper"}}, [], "em.variant paper takes 2"),
        ({"color": "vi"}, [], "color is vi, but there are 3 sources"),
        ({"color": 4}, [], "color is 4, but there are 3 sources"),
        ({"color": 0}, [], "sources are counted from 1"),
        ({"noise": [5.0, 5.0]}, [], "noise has 2 standard deviations, but there are 3 sources"),
        ({"ir_range": [0, 9]}, [], "ir_range and vi_range are of two sources, but there are 3"),
        ({"ranges": [[0, 9], None]}, [], "ranges has 2, but there are 3 sources"),
        ({"ranges": [[9, 0], None, None]}, [], "must be [low, high] with low < high"),
        ({"ranges": [[0, 9]], "vi_range": [0, 9]}, [], "leave ir_range and vi_range at null"),
        ({"ranges": [3]}, [], "a list of (a list of numbers or one of sequence or null) or null"),
        ({}, ["--ir", "elsewhere"], "name all in one of both ways"),
    ],
    ids=str,
)
def test_what_does_not_fit_three_sources_is_refused(
    fusion: dict[str, Any], flags: list[str], words: str, run: Run, tmp_path: Path, capsys: Any
):
    assert run(*flags, **fusion) == 2
    assert words in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_how_many_folders_there_can_be(run: Run, stacks: list[Path], capsys: Any):
    for sources, words in (
        (stacks[:1], "there is 1 source: give 2 to 8"),
        (stacks * 3, "there are 9 sources"),
        ([*stacks, stacks[0] / ".." / "plane0"], "is named twice"),
    ):
        assert run(sources=sources) == 2
        assert words in capsys.readouterr().err


def test_ranges_are_of_the_sources_in_their_order(tmp_path: Path):
    """Deep images: the third as if it spanned twice its values, so that it comes out half as bright."""
    deep = (np.arange(64 * 64).reshape(64, 64) % 1000).astype(np.uint16)
    for name in "xyz":
        (tmp_path / name).mkdir()
        Image.fromarray(deep).save(tmp_path / name / "a.png")
    fusion = ddfm.FusionConfig(
        em=ddfm.LocalFast(task="mif", tone=0.0),
        prior=False,
        ranges=[[0.0, 1000.0], "sequence", [0.0, 2000.0]],
        fit="pad",
    )
    settings = ddfm.FolderSettings(
        save_dir=tmp_path / "out", sources=[tmp_path / name for name in "xyz"], fusion=fusion, device="cpu"
    )
    seen: list[tuple[float, ...]] = []
    with pytest.MonkeyPatch.context() as patch:
        kept = fusing.clean_sources

        def watch(sources: Any, *rest: Any) -> Any:
            seen.append(tuple(float(source.max()) for source in sources))
            return kept(sources, *rest)

        patch.setattr(fusing, "clean_sources", watch)
        assert ddfm.fuse_folder(settings).exit_status == 0
    (first, second, third) = seen[0]
    assert first == pytest.approx(2 * 999 / 1000 - 1, abs=0.01) and second == pytest.approx(1, abs=0.01)
    assert third == pytest.approx(2 * 999 / 2000 - 1, abs=0.01)


def test_what_is_there_costs_a_share_nothing(run: Run, stacks: list[Path], tmp_path: Path):
    """Shares of several processes are dealt by what is left to do, told from headers and hashes of all three."""
    assert run() == 0
    told = json.loads(Image.open(tmp_path / "out/recon/a.png").text["ddfm"])  # pyright: ignore
    description = {key: value for key, value in told.items() if key != "sources"}
    writer = ResultWriter(tmp_path / "out", description, "pad", "auto", "oklab", False)
    pairs, _ = find_pairs(*stacks)
    assert [writer.seems_done(files) for files in pairs] == [True, True]
    Image.fromarray(image(stacks[2] / "b.png")[::-1]).save(stacks[2] / "b.png")
    assert [writer.seems_done(files) for files in pairs] == [True, False]
