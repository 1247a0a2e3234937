"""Reproducible made-up weights, for tests and benchmarks of architectures whose checkpoint is not at hand."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


def rule_state_dict(model: nn.Module, seed: int) -> dict[str, Tensor]:
    """Weights by a rule that any implementation can follow, so that outputs can be compared without a file.

    One numpy generator of this seed draws standard normal float32 numbers for every key in sorted order.
    Tensors of two or more dimensions are divided by the root of their fan-in; vectors are 0.1 z, plus 1 for
    keys that end in "weight".
    """
    rng = np.random.default_rng(seed)
    state: dict[str, Tensor] = {}
    for key, value in sorted(model.state_dict().items()):
        z = rng.standard_normal(tuple(value.shape)).astype(np.float32)
        if z.ndim >= 2:
            z = (z / np.sqrt(np.prod(z.shape[1:]))).astype(np.float32)
        else:
            z = 0.1 * z + (1.0 if key.endswith("weight") else 0.0)
        state[key] = torch.from_numpy(np.asarray(z, dtype=np.float32))
    return state
