"""Finding the network's weights in what a training program has saved around them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from util.checkpoint.known import CheckpointError
from util.checkpoint.stored import StoredTensor

# Every network of guided-diffusion has this weight, so it shows where one begins, whatever stands before it.
ANCHOR = "time_embed.0.weight"
_DEPTH = 4
_MOST_ENTRIES = 1_000_000
_MOST_NETWORKS = 64
_SHOWN = 8  # of a list, in an error


@dataclass(frozen=True)
class Weights:
    """The state dict of one network: ``state`` by its own names, ``place`` where it was found.

    ``place``: the entries that lead to it, then the prefix of its names if there is one, as in
    ``("state_dict", "model.")``; empty for a plain state dict. ``left_out``: what else is in the file.
    """

    state: dict[str, StoredTensor]
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
        kind = "Tensor" if isinstance(content, StoredTensor) else type(content).__name__
        raise CheckpointError(f"{name} holds a {kind}, not a state_dict (names and tensors)")
    found = list(itertools.islice(_Search(name).networks(content, (), ()), _MOST_NETWORKS))
    if not found:
        return _without_network(content, name)
    most = max(weights.averages for weights in found)
    chosen = [weights for weights in found if weights.averages == most]
    if len(chosen) > 1:
        choices = ", ".join(weights.where for weights in chosen[:_SHOWN]) + ", ..." * (len(chosen) > _SHOWN)
        raise CheckpointError(
            f"{name} holds several networks ({choices}), and nothing says which one is meant: save the state_dict of "
            "the right one alone"
        )
    return chosen[0]


class _Search:
    """Looks for networks in a file's content, which may hold one dictionary in many places: its work is bounded."""

    def __init__(self, name: str) -> None:
        self.name, self.looked_at = name, 0

    def networks(
        self, content: dict[Any, Any], path: tuple[str, ...], outer: tuple[tuple[dict[Any, Any], Any], ...]
    ) -> Iterator[Weights]:
        """Every network in a dictionary and in those inside it; ``outer``: those it lies in, each with its key."""
        tensors = {str(key): value for key, value in content.items() if isinstance(value, StoredTensor)}
        prefixes = [key[: -len(ANCHOR)] for key in tensors if key == ANCHOR or key.endswith(f".{ANCHOR}")]
        for prefix in prefixes:
            self._count(len(content))
            own = [key for key in tensors if key.startswith(prefix)]
            rest = {str(key) for key in content} - set(own)
            tops = {key.partition(".")[0] if key in tensors else key for key in rest}
            beside = {str(other) for around, key in outer for other in around if other != key}
            place = (*path, prefix) if prefix else path
            state = {key[len(prefix) :]: tensors[key] for key in own}
            yield Weights(state, place, tuple(sorted(tops | beside)))
        self._count(len(content))
        if len(path) < _DEPTH:
            for key, value in content.items():
                if isinstance(value, dict):
                    yield from self.networks(value, (*path, str(key)), (*outer, (content, key)))

    def _count(self, entries: int) -> None:
        self.looked_at += 1 + entries
        if self.looked_at > _MOST_ENTRIES:
            raise CheckpointError(
                f"{self.name} holds more than {_MOST_ENTRIES:,} entries, as no checkpoint does: save the plain "
                "state_dict with torch.save and use that"
            )


def _without_network(content: dict[Any, Any], name: str) -> Weights:
    """A plain state dict of something else passes: it is told to be no prior where it is compared with one."""
    if content and all(isinstance(value, StoredTensor) for value in content.values()):
        return Weights({str(key): value for key, value in content.items()})
    entries = ", ".join(str(key) for key in list(content)[:_SHOWN]) or "none"
    raise CheckpointError(
        f"{name} holds no weights of a prior (no name in it ends with {ANCHOR}; its entries: {entries})"
    )
