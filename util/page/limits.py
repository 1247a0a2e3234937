"""What a page takes from its visitors."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Limits:
    """``pixels`` of an image, ``megabytes`` of a file, ``images`` of a scene, ``seconds`` of a run, ``waiting``
    visitors in the queue, ``minutes`` that uploads and results are kept. Raises ValueError for what is not positive.
    """

    pixels: int = 4_000_000
    megabytes: int = 64
    images: int = 8
    seconds: int = 300
    waiting: int = 16
    minutes: int = 60

    def __post_init__(self) -> None:
        for item in fields(self):
            if getattr(self, item.name) < 1:
                raise ValueError(f"{item.name} is {getattr(self, item.name)}, but must be at least 1")
        if self.images < 2:
            raise ValueError(f"images is {self.images}, but fusing needs 2")
