"""How the prior is run: precisions, layouts, compilation, and a loop that never waits for the host."""

from __future__ import annotations

import logging
import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounter
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.rule_weights import rule_state_dict
from guided_diffusion.config import DiffusionConfig
from guided_diffusion.execution import (
    CompiledModel,
    Execution,
    Precision,
    can_compile,
    choose_precision,
    ready,
)
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from guided_diffusion.prior import NetworkPrior
from guided_diffusion.rectification import RECTIFICATIONS, LumaHook
from guided_diffusion.samplers import SAMPLERS, with_eta
from guided_diffusion.script_util import create_model
from guided_diffusion.unet import UNetModel
from tests.conftest import TINY
from tests.rounding import of_network
from util.device import check_precision, cpu_flags

CPU = torch.device("cpu")
CUDA = torch.device("cuda")


def tiny() -> UNetModel:
    model = create_model(**TINY)
    model.load_state_dict(rule_state_dict(model, 7))
    return model


@pytest.fixture
def tf32_as_it_was():
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def test_what_auto_means():
    assert choose_precision("auto", False, CPU) == choose_precision("auto", True, CPU) == "fp32"
    assert choose_precision("auto", False, CUDA) == "fp32"
    assert choose_precision("auto", True, CUDA) == "fp16"
    assert choose_precision("bf16", True, CUDA) == "bf16"
    with pytest.raises(ValueError, match="fp8 is no precision: give auto, fp32, tf32, bf16, fp16"):
        choose_precision("fp8", False, CPU)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
def test_a_ready_network_says_the_same(precision: Precision, tf32_as_it_was: None):
    """But for rounding; on a CPU tf32 is float32."""
    x, t = torch.randn((1, 3, 32, 48), generator=torch.Generator().manual_seed(1)), torch.tensor([400])
    with torch.no_grad():
        exact = tiny().eval()(x, t)
        model = ready(tiny(), Execution(CPU, precision))
        out = model(x, t)
    assert out.dtype == torch.float32
    assert (out - exact).norm() < math.hypot(of_network(tiny()), of_network(model)) * exact.norm()
    assert list(model.state_dict()) == list(tiny().state_dict())
    assert any(name.endswith("phases") for name, _ in model.named_buffers())
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    wide = [p for p in model.parameters() if p.ndim == 4 and p.shape[2] == 3]
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in wide)
    tf32 = precision == "tf32"
    assert torch.backends.cudnn.allow_tf32 == torch.backends.cuda.matmul.allow_tf32 == tf32


def test_the_log_says_what_was_chosen():
    model = tiny()
    assert Execution(CPU).describe(model) == "cpu: float32, channels_last, SDPA, folded upsampling"
    compiled = Execution(CUDA, "fp16", True).describe(model)
    assert compiled.startswith("cuda: float16") and compiled.endswith(", compiled")
    assert Execution(CUDA, "tf32").describe(model).startswith("cuda: tf32")


def test_precisions_that_a_cpu_lacks(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    with pytest.raises(ValueError, match="tf32 is a mode of CUDA devices; on the CPU give fp32"):
        check_precision("tf32", CPU)
    monkeypatch.setattr("util.device.cpu_flags", lambda: frozenset({"avx2"}))
    with caplog.at_level(logging.WARNING, "ddfm"):
        for precision in ("fp32", "bf16", "fp16"):
            check_precision(precision, CPU)
        check_precision("bf16", CUDA)
    assert [r.message.partition(":")[0] for r in caplog.records] == ["precision bf16", "precision fp16"]
    caplog.clear()
    monkeypatch.setattr("util.device.cpu_flags", lambda: frozenset({"avx512_bf16"}))
    check_precision("bf16", CPU)
    assert not caplog.records


def test_flags_of_a_processor(tmp_path: Path):
    (tmp_path / "x86").write_text("processor : 0\nflags\t\t: fpu avx512_bf16\n\nflags\t\t: fpu avx512_bf16\n")
    (tmp_path / "arm").write_text("Features\t: fp asimdhp bf16\n")
    assert cpu_flags(tmp_path / "x86") == {"fpu", "avx512_bf16"}
    assert "bf16" in cpu_flags(tmp_path / "arm")
    assert cpu_flags(tmp_path / "none") == frozenset()


class FakeCompiler:
    """Stands in for torch.compile, which takes long: calls the network ``works`` times, then fails."""

    def __init__(self, works: int, error: Exception) -> None:
        self.works, self.error = works, error

    def __call__(self, model: Any, **_: Any) -> Any:
        def compiled(*args: Tensor) -> Tensor:
            self.works -= 1
            if self.works < 0:
                raise self.error
            return model(*args)

        return compiled


def test_where_compiling_fails_the_network_runs_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """At the second call; said once. Bad input is the caller's fault and keeps the compiled network."""
    model = ready(tiny(), Execution(CPU))
    monkeypatch.setattr(torch, "compile", FakeCompiler(1, RuntimeError("no C++ compiler\nfound")))
    compiled = CompiledModel(model)
    x, t = torch.randn(1, 3, 32, 32), torch.tensor([4])
    with torch.no_grad(), caplog.at_level(logging.WARNING, "ddfm"):
        outs = [compiled(x, t) for _ in range(3)]
        torch.testing.assert_close(outs, [model(x, t)] * 3)
    assert [r.message for r in caplog.records] == [
        "torch.compile fails here, running without it (RuntimeError: no C++ compiler)"
    ]
    assert compiled.compiled is None
    caplog.clear()
    assert not can_compile(CPU) and "running without it" in caplog.text
    again = CompiledModel(model)
    with pytest.raises(ValueError, match="multiples of 2"):
        again(torch.randn(1, 3, 33, 32), t)
    assert again.compiled is not None


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_want_of_memory_is_not_taken_for_a_failed_compilation(
    monkeypatch: pytest.MonkeyPatch, error: Exception
):
    """The answer to it are smaller batches."""
    monkeypatch.setattr(torch, "compile", FakeCompiler(0, error))
    compiled = CompiledModel(ready(tiny(), Execution(CPU)))
    with pytest.raises(type(error)):
        compiled(torch.randn(1, 3, 32, 32), torch.tensor([4]))
    assert compiled.compiled is not None


def test_one_graph_for_each_size(monkeypatch: pytest.MonkeyPatch):
    """Traced for real, as a whole, but run by PyTorch: a C++ compiler would take half a minute."""
    counter = CompileCounter()
    compile_ = torch.compile

    def traced(model: Any, dynamic: bool, mode: str) -> Any:
        return compile_(model, dynamic=dynamic, backend=counter, fullgraph=True)

    monkeypatch.setattr(torch, "compile", traced)
    model = ready(tiny(), Execution(CPU))
    compiled = CompiledModel(model)
    with torch.no_grad():
        for graphs, height in ((1, 32), (2, 48), (2, 32)):
            for t in (900, 0):
                x = torch.randn(1, 3, height, 32)
                for layout in (torch.contiguous_format, torch.channels_last):
                    out = compiled(x.contiguous(memory_format=layout), torch.tensor([t]))
                    torch.testing.assert_close(out, model(x, torch.tensor([t])))
            assert counter.frame_count == graphs
    assert compiled.compiled is not None


class NoNewTensors(TorchFunctionMode):
    """Refuses to make tensors of the host's numbers, which on CUDA would have to be copied."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func not in (torch.tensor, torch.as_tensor, torch.from_numpy, torch.asarray)
        return func(*args, **(kwargs or {}))


class HostTraffic(TorchDispatchMode):
    """Notes where the host waits for the device or copies to it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func.overloadpacket.__name__, kwargs or {}
        tensors = [value for value in args if isinstance(value, Tensor)]
        target = kwargs.get("device")
        moved = target is not None and any(value.device != torch.device(target) for value in tensors)
        if name in ("_local_scalar_dense", "nonzero", "is_nonzero") or moved:
            self.seen.append(name)
        if name == "copy_" and len({value.device for value in tensors}) > 1:
            self.seen.append(name)
        return func(*args, **kwargs)


def test_the_watch_notices():
    with HostTraffic() as traffic:
        torch.zeros(2).to("meta")
        float(torch.zeros(()).sum())
        torch.zeros(2, device="meta").copy_(torch.zeros(2))
    assert traffic.seen == ["_to_copy", "_local_scalar_dense", "copy_"]
    with pytest.raises(AssertionError), NoNewTensors():
        torch.tensor([1.0, 2.0], device="meta")


@pytest.mark.parametrize("sampler, eta", [("ddim", 0.0), ("ddim", 1.0), ("ddpm", 0.0), ("dpmpp_2m", 0.0)])
@pytest.mark.parametrize("variant", ["released", "paper"])
def test_no_step_waits_for_the_host(sampler: str, eta: float, variant: Any, monkeypatch: pytest.MonkeyPatch):
    """On the meta device, which computes nothing and from which no number can be taken at all."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # which does not know that device
    meta = torch.device("meta")
    model = ready(tiny(), Execution(meta))
    diffusion = GaussianDiffusion.from_config(DiffusionConfig(timestep_respacing=4))
    ir, vi = torch.empty((2, 2, 1, 32, 48), device=meta)
    hook = LumaHook(RECTIFICATIONS[variant](), (ir, vi), diffusion)
    x_T = torch.empty((2, 3, 32, 48), device=meta)
    steps = with_eta(SAMPLERS[sampler], eta)(NetworkPrior(model, diffusion), x_T, hook=hook)
    with NoNewTensors(), HostTraffic() as traffic:
        assert len(list(steps)) == 4
    assert traffic.seen == []
