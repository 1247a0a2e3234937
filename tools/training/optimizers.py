"""The optimisers of a prior: AdamW, or Muon for the weights of hidden layers and AdamW for the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

OPTIMIZERS = ("adamw", "muon")
# a quintic whose iteration takes singular values from (0, 1] to about 1 in five steps (Jordan et al. 2024)
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
OUTER_LAYERS = ("input_blocks.0.", "out.", "label_emb.")


def orthogonalize(matrix: Tensor, iterations: int = 5) -> Tensor:
    """About the nearest matrix (M, N) whose singular values are all alike: between 0.7 and 1.2 of each.

    Newton-Schulz iterations in float32, on the smaller side; a matrix of zeros stays one.
    """
    x = matrix.float()
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    x = x / (x.norm() + 1e-7)
    a, b, c = NEWTON_SCHULZ
    for _ in range(iterations):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.T if tall else x).to(matrix.dtype)


class Muon(Optimizer):
    """Momentum, orthogonalised: every direction of a weight matrix moves by as much (Jordan et al. 2024).

    Weights of convolutions count as matrices (out channels, in channels x kernel). Updates are scaled by
    0.2 sqrt(max(M, N)), which gives them the root mean square of AdamW's (Liu et al., "Muon is Scalable for LLM
    Training", 2025), so that both take the same learning rate. ``momentum`` is Nesterov's; ``weight_decay`` is
    decoupled. Raises ValueError for parameters of fewer than two dimensions.
    """

    def __init__(
        self, params: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        if any(p.ndim < 2 for group in self.param_groups for p in group["params"]):
            raise ValueError("Muon takes matrices and kernels only, parameters of two dimensions and more")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One update of every parameter that has a gradient; ``closure`` must be None."""
        if closure is not None:
            raise ValueError("Muon takes no closure")
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum: Tensor = state["momentum"]
        momentum.lerp_(gradient, 1 - group["momentum"])
        nesterov = gradient.lerp(momentum, group["momentum"]).reshape(len(parameter), -1)
        update = orthogonalize(nesterov).view(parameter.shape)
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(update, alpha=-0.2 * math.sqrt(max(nesterov.shape)) * group["lr"])


def check_optimizer(name: str) -> None:
    """Raises ValueError for a name that :func:`make_optimizers` does not know."""
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer is {name!r}, but must be one of {', '.join(OPTIMIZERS)}")


def make_optimizers(model: nn.Module, name: str, lr: float, weight_decay: float) -> list[Optimizer]:
    """The optimisers that together update all of a UNet's parameters.

    ``muon``: that for the weights of hidden layers, AdamW for the first and the last layer, embeddings of classes,
    biases and norms, as its authors advise. Raises ValueError for another name.
    """
    check_optimizer(name)
    named = list(model.named_parameters())
    hidden = [p for key, p in named if name == "muon" and p.ndim >= 2 and not key.startswith(OUTER_LAYERS)]
    chosen = {id(p) for p in hidden}
    rest = [p for _, p in named if id(p) not in chosen]
    optimizers: list[Optimizer] = [AdamW(rest, lr=lr, weight_decay=weight_decay, fused=True)]
    if hidden:
        optimizers.append(Muon(hidden, lr, weight_decay=weight_decay))
    return optimizers
