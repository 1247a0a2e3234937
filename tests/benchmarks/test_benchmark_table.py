"""The table of speeds, with a tiny network at 32x32."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks import local
from benchmarks.cost import gflop
from benchmarks.naive import naive
from benchmarks.rule_weights import rule_state_dict
from benchmarks.step import Case, Outcome, matrix_product, measure
from benchmarks.table import HEADINGS, main, make_cases, parse_args, table
from guided_diffusion.config import ModelConfig
from guided_diffusion.script_util import create_model
from guided_diffusion.typed import from_mapping
from tests.conftest import TINY, PriorFiles, write_prior
from util.config_io import read_yaml

CPU = torch.device("cpu")


@pytest.mark.parametrize("new_order", [False, True])
def test_the_naive_network_says_the_same(new_order: bool):
    """float32 sums in another order; two heads, both layouts of their channels."""
    keys = {
        **TINY,
        "attention_resolutions": "64",
        "num_head_channels": 16,
        "use_new_attention_order": new_order,
    }
    model, plain = create_model(**keys).eval(), create_model(**keys)
    for network in (model, plain):
        network.load_state_dict(rule_state_dict(network, 2))
    plain = naive(plain, CPU)
    x, t = torch.randn(2, 3, 16, 24), torch.tensor([3, 700])
    with torch.no_grad(), torch.profiler.profile() as profile:
        out = plain(x, t)
    assert not any("scaled_dot_product" in event.name for event in profile.events() or [])
    with torch.no_grad():
        torch.testing.assert_close(out, model(x, t), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("way, pngs", [("naive", 3), ("ours", 0)])
def test_what_a_turn_measures(way: Any, pngs: int, tiny_prior: PriorFiles, monkeypatch: pytest.MonkeyPatch):
    written: list[Any] = []
    monkeypatch.setattr("benchmarks.step.write_png", lambda *args: written.append(args))
    monkeypatch.setattr("benchmarks.step.keep_freed_memory", lambda: way == "ours" or pytest.fail("naive"))
    monkeypatch.setattr("benchmarks.step.matrix_product", lambda *_: 1e9)
    outcome = measure(Case(str(tiny_prior.config), way, 32, 32, steps=2, batch=1))
    assert 0 < outcome.network < outcome.step
    assert outcome.peak > 2**26
    assert len(written) == pngs  # one a step, the one that warms up included


def test_a_turn_of_a_prior_of_one_channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    prior = write_prior(tmp_path, {**TINY, "in_channels": 1, "patch_size": 2}, seed=7)
    monkeypatch.setattr("benchmarks.step.matrix_product", lambda *_: 1e9)
    for way in ("naive", "ours"):
        outcome = measure(Case(str(prior.config), way, 32, 32, steps=1, batch=1))
        assert 0 < outcome.network < outcome.step


def test_matrix_product(monkeypatch: pytest.MonkeyPatch):
    """2 n^3 operations in the median of 1, 9 and 2 seconds; the first product only warms up."""
    clock = iter([0.0, 100.0, 100.0, 101.0, 101.0, 110.0, 110.0, 112.0])
    monkeypatch.setattr("benchmarks.step.time", SimpleNamespace(perf_counter=lambda: next(clock)))
    assert matrix_product(CPU, "fp32", repeats=3) == 2 * 2048**3 / 2


def test_order_of_turns():
    args = parse_args(
        ["--precisions", "fp32", "tf32", "--batch_size", "3", "--priors", "compact", "official"]
    )
    ways = [
        (case.config.rpartition("_")[2], case.way, case.precision, case.batch)
        for case in make_cases(args, "cpu")
    ]
    assert ways == [
        ("compact.yaml", "naive", "fp32", 1),
        ("compact.yaml", "ours", "fp32", 3),
        ("imagenet.yaml", "naive", "fp32", 1),
        ("imagenet.yaml", "ours", "fp32", 3),
    ]
    assert [case.precision for case in make_cases(args, "cuda")] == ["fp32", "fp32", "tf32"] * 2


def test_table_of_medians(tiny_prior: PriorFiles):
    """Seconds 1, 2, 9 and 1, 1, 1 a step; a batch of two counts twice."""
    config = str(tiny_prior.config)
    first = Case(config, "naive", 32, 32)
    ours = dataclasses.replace(first, way="ours", precision="bf16", compile=True, batch=2)
    flops = gflop(from_mapping(ModelConfig, read_yaml(config), config), 32, 32) * 1e9
    outcomes = {
        first: [Outcome(seconds, 0.9 * seconds, 2**30, flops) for seconds in (1.0, 9.0, 2.0)],
        ours: [Outcome(1.0, 0.99, 2**29, 4 * flops)] * 3,
    }
    lines = table(outcomes, {config: "tiny"}, pair_steps=10).splitlines()
    assert lines[0].count("|") == lines[1].count("|") == len(HEADINGS) + 1
    assert lines[2:] == [
        "| tiny | naive, fp32 | 2 | 10.0% | 20 | 0.05 | 1.00 GiB | 50% | 1.00 |",
        "| tiny | ours, bf16, compiled, batch of 2 | 1 | 1.0% | 5 | 0.2 | 0.50 GiB | 50% | 4.00 |",
    ]
    assert table({ours: outcomes[ours]}, {config: "tiny"}).endswith("| - |")


@pytest.mark.slow
def test_the_command(tiny_prior: PriorFiles, capsys: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(local, "table", lambda device, rounds: "local")  # a test of its own
    small = ["--height", "32", "--width", "32", "--steps", "1", "--rounds", "1"]
    assert main(["--priors", str(tiny_prior.config), *small]) == 0
    out = capsys.readouterr().out
    assert "pairs of 32x32, 100 steps a pair" in out
    assert "| model_config | naive, fp32 |" in out and "| model_config | ours, fp32 |" in out
    assert "CUDA: not measured" in out


@pytest.mark.slow
def test_a_failed_measurement_is_told(capfd: Any):
    assert main(["--priors", "missing.yaml", "--devices", "cpu"]) == 1
    assert "missing.yaml" in capfd.readouterr().err
