"""--samples: the mean of several draws, the picture of their spread, and what cannot be sampled."""

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
from guided_diffusion.samples import sample_seeds
from tests.conftest import PriorFiles, make_pair
from util.images.uncertainty import LIMIT, uncertainty_picture
from util.run import fusing
from util.run.record import StepDone

Run = Callable[..., int]
NOISY = {"em": {"variant": "local_fast", "task": "ivf"}, "prior": "noise", "noise": [20.0, 0.0], "fit": "pad"}


@pytest.fixture
def run(tmp_path: Path, tiny_prior: PriorFiles) -> Run:
    """Runs sample.py on two pairs, two samples each, with three steps."""
    for stem in ("a", "b"):
        make_pair(tmp_path / "input", stem, (70, 100), colour="vi")

    def run(*more: str, sampler: str = "ddpm", **fusion: Any) -> int:
        (tmp_path / "d.yaml").write_text(yaml.safe_dump({"sampler": sampler, "timestep_respacing": 3}))
        (tmp_path / "f.yaml").write_text(yaml.safe_dump(fusion))
        line = ["--model_config", str(tiny_prior.config), "--diffusion_config", str(tmp_path / "d.yaml")]
        line += ["--fusion_config", str(tmp_path / "f.yaml"), "--input", str(tmp_path / "input")]
        line += ["--save_dir", str(tmp_path / "out"), "--device", "cpu", "--samples", "2"]
        return sample.main([*line, *more])

    return run


def image(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def counts(tmp_path: Path) -> dict[str, int]:
    return json.loads((tmp_path / "out/run.json").read_text())["counts"]


def test_the_mean_is_written_with_its_spread(run: Run, tmp_path: Path, tiny_prior: PriorFiles):
    """What the door gives, too; finished pairs are skipped, unless their spread is gone."""
    assert run(**NOISY) == 0
    spread = Image.open(tmp_path / "out/uncertainty/a.png")
    told = json.loads(spread.text["ddfm"])  # pyright: ignore[reportAttributeAccessIssue]
    assert told["fusion_config"]["samples"] == 2 and "first 100 columns" in spread.text["scale"]  # pyright: ignore
    prior = ddfm.open_prior(
        tiny_prior.config, diffusion=ddfm.DiffusionConfig(timestep_respacing=3), device="cpu"
    )
    fused = ddfm.fuse(
        prior,
        [tmp_path / "input/ir/a.png", tmp_path / "input/vi/a.png"],
        rectification=ddfm.LocalFast(task="ivf"),
        sampler=None,
        noise=[20.0, 0.0],
        samples=2,
    )
    assert fused.deviation is not None and fused.deviation.shape == (70, 100)
    assert np.array_equal(image(tmp_path / "out/recon/a.png"), fused.grey)
    drawn = np.asarray(spread)[:, :100].astype(float) * LIMIT / 255
    known = fused.deviation < LIMIT
    assert np.abs(drawn - fused.deviation)[known].max() <= LIMIT / 255 and drawn.mean() > 0.1
    fused.save(tmp_path / "kept.png")
    assert np.array_equal(image(tmp_path / "kept_uncertainty.png"), np.asarray(spread))
    assert fused.provenance["samples"] == 2
    assert run(**NOISY) == 0 and counts(tmp_path)["skipped"] == 2
    (tmp_path / "out/uncertainty/b.png").unlink()
    assert run(**NOISY) == 0 and counts(tmp_path) == {"done": 1, "skipped": 1, "failed": 0}
    assert run("--samples", "1", **NOISY) == 0 and counts(tmp_path)["done"] == 2
    assert not list((tmp_path / "out/uncertainty").iterdir())  # of results that are gone


@pytest.mark.parametrize("batch_size", ["2", "4", "auto"])
def test_batches_change_nothing(run: Run, batch_size: str, tmp_path: Path):
    """A sampler in the prior, and noise; up to a grey level by rounding."""
    fusion: dict[str, Any] = {**NOISY, "prior": True}
    assert run(**fusion) == 0
    before = [image(tmp_path / f"out/{kind}/b.png").astype(int) for kind in ("recon", "uncertainty")]
    assert run("--batch_size", batch_size, "--overwrite", **fusion) == 0
    after = [image(tmp_path / f"out/{kind}/b.png").astype(int) for kind in ("recon", "uncertainty")]
    assert np.abs(after[0] - before[0]).max() <= 1
    assert np.abs(after[1] - before[1]).max() <= 1 + 255 / LIMIT  # a grey level of the result
    assert before[1][:, :100].mean() > 1


def test_memory_that_does_not_hold_several_samples(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    kept, tried = fusing.add_samples, list[int]()

    def scarce(*given: Any, at_once: int, **more: Any) -> None:
        tried.append(at_once)
        if at_once > 1:
            raise MemoryError
        kept(*given, at_once=at_once, **more)

    monkeypatch.setattr(fusing, "add_samples", scarce)
    assert run("--batch_size", "8", "--limit", "1", **NOISY) == 0
    assert tried == [8, 4, 2, 1] and "1 at a time from here on" in capsys.readouterr().err


def test_the_first_sample_is_recorded_and_steps_are_told(run: Run, tmp_path: Path, tiny_prior: PriorFiles):
    assert run("--record", "--limit", "1", prior=True) == 0
    assert [path.name for path in sorted((tmp_path / "out/progress/a").iterdir())] == [
        "x_0000.png",
        "x_0001.png",
        "x_0002.png",
    ]
    steps: list[StepDone] = []
    settings = ddfm.FolderSettings(
        save_dir=tmp_path / "again",
        input=tmp_path / "input",
        model_config=tiny_prior.config,
        diffusion=ddfm.DiffusionConfig(sampler="ddpm", timestep_respacing=3),
        fusion=ddfm.FusionConfig(samples=2),
        limit=1,
        device="cpu",
        quiet=True,
    )
    ddfm.fuse_folder(settings, lambda event: steps.append(event) if isinstance(event, StepDone) else None)
    assert [(step.sample, step.index) for step in steps] == [(s, i) for s in (0, 1) for i in (2, 1, 0)]
    assert steps[-1].lumas().shape == (1, 64, 96)


def test_without_noise_or_sampler_the_spread_is_nothing(run: Run, tmp_path: Path, capsys: Any):
    assert run("--limit", "1", **{**NOISY, "noise": [0.0, 0.0]}) == 0
    assert not image(tmp_path / "out/uncertainty/a.png")[:, :100].any()
    assert "without noise nothing is random, the spread is 0" in capsys.readouterr().err


def test_a_stretched_result_has_a_stretched_spread(tmp_path: Path, tiny_prior: PriorFiles):
    """released stretches its mean to black and white, and the deviation in proportion."""
    make_pair(tmp_path, "a", (64, 64))
    diffusion = ddfm.DiffusionConfig(timestep_respacing=3)
    prior = ddfm.open_prior(tiny_prior.config, diffusion=diffusion, device="cpu")
    paths = [tmp_path / "ir/a.png", tmp_path / "vi/a.png"]
    fused = ddfm.fuse(prior, paths, sampler="ddpm", samples=3)
    lumas = np.stack(
        [ddfm.fuse(prior, paths, sampler="ddpm", seed=seed).luma for seed in sample_seeds(3407, 3)]
    )
    np.testing.assert_allclose(fused.luma, lumas.mean(axis=0), atol=1e-5)
    assert fused.deviation is not None
    wanted = lumas.std(axis=0, ddof=1) * 255 / np.ptp(lumas.mean(axis=0))
    np.testing.assert_allclose(fused.deviation, wanted, atol=0.01)


@pytest.mark.parametrize(
    "fusion, sampler, words",
    [
        ({"prior": False}, "ddpm", "samples is 2, but without a prior nothing is random"),
        ({}, "ddim", "set eta: 1 for ddim (it is 0), or sampler: ddpm"),
        ({}, "dpmpp_2m", "the steps of the sampler draw nothing"),
        ({"samples": 0}, "ddpm", "samples is 0, but must be at least 1"),
    ],
)
def test_what_cannot_be_sampled_is_refused(
    fusion: dict[str, Any], sampler: str, words: str, run: Run, tmp_path: Path, capsys: Any
):
    assert run(sampler=sampler, **fusion) == 2
    assert words in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_the_picture_has_a_scale_at_any_height():
    deviation = np.linspace(0, 2 * LIMIT, 200 * 50).reshape(200, 50)
    for height in (32, 95, 96, 200):
        picture = uncertainty_picture(deviation[:height])
        assert picture.shape == (height, 90) and picture.dtype == np.uint8
        np.testing.assert_array_equal(
            picture[:, :50], np.rint(np.clip(deviation[:height], 0, LIMIT) * 255 / LIMIT)
        )
        bar = picture[1:-1, 57:66].astype(int)
        assert (np.diff(bar, axis=0) <= 0).all() and bar[0].min() > 240 and bar[-1].max() < 15
        assert (picture[:, 70:] < 128).any()  # labels


def test_one_file_has_its_spread_beside_it(tmp_path: Path, tiny_prior: PriorFiles, capsys: Any):
    """Of three files, without a folder; neither takes the place of a source."""
    for stem in ("a", "y_uncertainty"):
        make_pair(tmp_path, stem, (70, 100))
    files = [tmp_path / name for name in ("ir/a.png", "vi/a.png", "ir/y_uncertainty.png")]
    line = ["--preset", "local", "--noise", "20,0,0", "--samples", "2", "--device", "cpu", "--sources"]
    line += [*map(str, files), "--model_config", str(tiny_prior.config)]
    assert sample.main([*line, "-o", str(tmp_path / "one/x.png")]) == 0
    assert {path.name for path in (tmp_path / "one").iterdir()} == {"x.png", "x_uncertainty.png"}
    assert image(tmp_path / "one/x_uncertainty.png").shape == (70, 140)
    assert sample.main([*line, "-o", str(tmp_path / "ir/y.png")]) == 2
    assert "would take the place of the source" in capsys.readouterr().err
