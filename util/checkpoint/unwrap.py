"""Finding the network's weights in what a training program has saved around them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from util.checkpoint.known import CheckpointError

# Every network of guided-diffusion has this weight, so it shows where one begins, whatever stands before it.
ANCHOR = "time_embed.0.weight"
_DEPTH = 4


@dataclass(frozen=True)
class Weights:
    """The state dict of one network: ``state`` by its own names, ``place`` where it was found.

    ``place``: the entries that lead to it, then the prefix of its names if there is one, as in
    ``("state_dict", "model.")``; empty for a plain state dict. ``left_out``: what else is in the file.
    """

    state: dict[str, Tensor]
    place: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def averages(self) -> int:
        """How many parts of the place say that this is a moving average."""
        return sum(re.search(r"(^|[_\W])ema($|[_\W\d])", part.lower()) is not None for part in self.place)

    @property
    def where(self) -> str:
        """The place in one word."""
        return " / ".join(self.place) or "the top level"

    @property
    def words(self) -> str:
        """What was done to get at it; empty for a plain state dict."""
        kind = "the moving average of the weights" if self.averages else "the weights"
        took = f"took {kind} from {self.where}" if self.place else ""
        left = f"left aside {', '.join(self.left_out)}" if self.left_out else ""
        return "; ".join(part for part in (took, left) if part)


def unwrap(content: object, name: str) -> Weights:
    """The weights in a checkpoint's content: the moving average where there is one. ``name`` is for errors.

    Takes plain state dicts, dictionaries of them (``model``, ``state_dict``, ``ema``, beside an optimiser's
    state and anything else), and prefixes of the names (``module.``, ``_orig_mod.``, ``model.``, ``ema.``).
    Raises CheckpointError when there are none, or several and no telling which one is meant.
    """
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{name} holds a {type(content).__name__}, not a state_dict (names and tensors)"
        )
    found = list(_networks(content, (), frozenset()))
    if not found:
        return _without_network(content, name)
    most = max(weights.averages for weights in found)
    chosen = [weights for weights in found if weights.averages == most]
    if len(chosen) > 1:
        raise CheckpointError(
            f"{name} holds several networks ({', '.join(weights.where for weights in chosen)}), and nothing says "
            "which one is meant: save the state_dict of the right one alone"
        )
    return chosen[0]


def _networks(content: dict[Any, Any], path: tuple[str, ...], beside: frozenset[str]) -> Iterator[Weights]:
    """Every network in a dictionary and in those inside it; ``beside``: what lies outside the dictionary."""
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    prefixes = [key[: -len(ANCHOR)] for key in tensors if key == ANCHOR or key.endswith(f".{ANCHOR}")]
    for prefix in prefixes:
        own = [key for key in tensors if key.startswith(prefix)]
        rest = {str(key) for key in content} - set(own)
        tops = {key.partition(".")[0] if key in tensors else key for key in rest}
        place = (*path, prefix) if prefix else path
        state = {key[len(prefix) :]: tensors[key] for key in own}
        yield Weights(state, place, tuple(sorted(tops | beside)))
    if len(path) < _DEPTH:
        for key, value in content.items():
            if isinstance(value, dict):
                others = frozenset(str(other) for other in content if other != key)
                yield from _networks(value, (*path, str(key)), beside | others)


def _without_network(content: dict[Any, Any], name: str) -> Weights:
    """A plain state dict of something else passes: it is told to be no prior where it is compared with one."""
    if content and all(isinstance(value, Tensor) for value in content.values()):
        return Weights({str(key): value for key, value in content.items()})
    entries = ", ".join(str(key) for key in list(content)[:8]) or "none"
    raise CheckpointError(
        f"{name} holds no weights of a prior (no name in it ends with {ANCHOR}; its entries: {entries})"
    )
