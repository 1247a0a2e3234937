"""Damage to bytes, the same for the same random numbers."""

from __future__ import annotations

import random
import struct

INTERESTING = [
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    2**63 - 1,
    2**63,
]


def mutate(content: bytes, rng: random.Random, words: tuple[bytes, ...] = ()) -> bytes:
    """A copy with one to eight changes; ``words``: pieces of the format that may get in anywhere."""
    out = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        _change(out, rng, words)
    return bytes(out)


def _change(out: bytearray, rng: random.Random, words: tuple[bytes, ...]) -> None:
    at = rng.randrange(len(out) + 1)
    length = rng.choice((1, 1, 2, 4, 8, 16, 64, 256))
    kind = rng.randrange(8 if words else 7)
    if kind == 0 and at < len(out):
        out[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        out[at : at + length] = rng.randbytes(length)
    elif kind == 2:
        del out[at : at + length]
    elif kind == 3:
        out[at:at] = rng.randbytes(length)
    elif kind == 4:  # a number that is large, or at the edge of its type
        form = rng.choice(("<B", "<H", ">H", "<I", ">I", "<Q", ">Q"))
        size = struct.calcsize(form)
        out[at : at + size] = struct.pack(form, rng.choice(INTERESTING) % (1 << 8 * size))
    elif kind == 5:
        start = rng.randrange(len(out) + 1)
        out[at:at] = out[start : start + length]
    elif kind == 6:
        if rng.random() < 0.3:
            del out[at:]
    elif kind == 7:
        word = rng.choice(words)
        out[at : at + (len(word) if rng.random() < 0.5 else 0)] = word
