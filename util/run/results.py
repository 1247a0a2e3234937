"""The files that a pair becomes, and what they carry."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from guided_diffusion.denoising.chroma_noise import clean_all_colours
from guided_diffusion.denoising.sources import Noise
from util.files import file_sha256, remove_abandoned
from util.images.colour import ColourMethod, ColourMode, colour_source, colourise
from util.images.levels import level_size, round_to_uint8, written_levels
from util.images.pairs import FitMode, Pair, PairFiles, output_size, source_names
from util.images.png import png_header_text, read_png_text, write_png
from util.images.same_form import described_as, write_as_named
from util.images.uncertainty import beside, write_uncertainty
from util.run.out_layout import OutLayout
from util.run.record import RunRecord, fingerprint
from util.run.recording import Recorder

FOLDERS = ("recon", "color", "dataset", "uncertainty", "progress")

log = logging.getLogger("ddfm")

T = TypeVar("T")


def start_record(folder: Path, description: dict[str, Any]) -> RunRecord:
    """The record of a run whose results go below ``folder``, written once, after clearing away what was left there.

    Raises ValueError when nothing can be written.
    """
    for place in (folder, *(folder / name for name in FOLDERS), *(folder / "progress").glob("*/")):
        remove_abandoned(place)
    record = RunRecord(folder / "run.json", description)
    try:
        record.write()
    except OSError as error:
        raise ValueError(
            f"{folder}: nothing can be written there ({error.strerror}); give another --save_dir"
        ) from error
    return record


@dataclass(frozen=True, eq=False)
class FusedPair:
    """What fusing a pair gives. ``luma``: (H, W) float of the fitted size, about [-1, 1].

    ``weights``: of each source's colour, (N, H, W), where several have some; None: one of them gives it.
    ``deviation``: of several samples at each pixel, (H, W), in the units of ``luma``.
    """

    luma: np.ndarray
    weights: np.ndarray | None = None
    deviation: np.ndarray | None = None


@dataclass(frozen=True)
class ResultWriter:
    """Writes the results of pairs below ``folder``.

    ``description``: what makes the images (configuration, prior, device, versions); goes into every PNG.
    ``stretched`` false: levels are written as they are, not stretched to black and white. ``output``: the one file
    that the one pair becomes, in colour where there is some, in place of those in ``folder``. ``samples``: of
    several, there is a picture of their spread. ``recorder``: keeps the states of every pair, if any does. ``noise``:
    of the sources, as :func:`~guided_diffusion.denoising.sources.clean_sources` takes it; colours are freed of
    theirs. ``layout``: where results go too, in colour where there is some, as files like their sources.
    """

    folder: Path
    description: dict[str, Any]
    fit: FitMode
    color: ColourMode | int
    color_method: ColourMethod
    stretched: bool = True
    output: Path | None = None
    samples: int = 1
    recorder: Recorder | None = None
    noise: Noise = "off"
    layout: OutLayout | None = None

    def fingerprint(self, *sha256: str) -> str:
        """The same for the same files, by their hashes, and configuration, on the same kind of device.

        Versions of libraries are left out: a new one changes single grey levels and should not redo a run.
        """
        kept = {key: value for key, value in self.description.items() if key not in ("versions", "device")}
        own = {
            "device": re.split("[: ]", self.description["device"])[0],  # cpu or cuda, whichever card
            "ddfm": self.description["versions"]["ddfm"],
            **_by_name(sha256),
        }
        return fingerprint({**kept, **own})

    def recon_path(self, pair: Pair) -> Path:
        return self.output or self.folder / "recon" / f"{pair.stem}.png"

    def color_path(self, pair: Pair) -> Path | None:
        """Where the colour result goes; None when no source gives it a colour."""
        if colour_source([source.rgb for source in pair.sources], self.color) is None:
            return None
        return self.output or self.folder / "color" / f"{pair.stem}.png"

    def uncertainty_path(self, pair: Pair) -> Path | None:
        """Where the spread of samples goes; None when there is one alone."""
        if self.samples == 1:
            return None
        return beside(self.output) if self.output else self.folder / "uncertainty" / f"{pair.stem}.png"

    def is_done(self, pair: Pair, steps: int = 0) -> bool:
        """Whether every result is there, made of these files by this configuration, and as many recorded steps."""
        wanted = self._fingerprint_of(pair)
        paths = [self.recon_path(pair), self.color_path(pair), self.uncertainty_path(pair)]
        files = PairFiles(pair.stem, tuple(source.path for source in pair.sources))
        return (
            all(read_png_text(path).get("fingerprint") == wanted for path in paths if path is not None)
            and self._laid_out(files, wanted)
            and self._recorded(pair.stem, wanted, steps)
        )

    def _laid_out(self, files: PairFiles, fingerprint: str) -> bool:
        return self.layout is None or described_as(self.layout.path(files)) == fingerprint

    def _recorded(self, stem: str, fingerprint: str, steps: int) -> bool:
        return steps == 0 or self.recorder is None or self.recorder.is_done(stem, steps, fingerprint)

    def seems_done(self, files: PairFiles, steps: int = 0) -> bool:
        """Whether the grey image, which comes last, and so many steps are there, judged without decoding."""
        path = self.output or self.folder / "recon" / f"{files.stem}.png"
        try:
            if not all(file.is_file() for file in (path, *files.paths)):
                return False
            wanted = self.fingerprint(*(file_sha256(source) for source in files.paths))
            return (
                png_header_text(path).get("fingerprint") == wanted
                and self._laid_out(files, wanted)
                and self._recorded(files.stem, wanted, steps)
            )
        except OSError:
            return False

    def _fingerprint_of(self, pair: Pair) -> str:
        return self.fingerprint(*(source.sha256 for source in pair.sources))

    def write(self, pair: Pair, fused: FusedPair) -> list[Path]:
        """Write what fusing a pair has given; returns the files.

        The grey image comes last, so that its presence means that the pair is complete. Raises OSError.
        """
        height, width = output_size(pair.size, self.fit)
        grey = round_to_uint8(written_levels(fused.luma[:height, :width], self.stretched))
        text = {
            "Software": f"DDFM {self.description['versions']['ddfm']}",
            "fingerprint": self._fingerprint_of(pair),
            "ddfm": json.dumps(
                {
                    **self.description,
                    **_by_name([source.path.name for source in pair.sources]),
                    **({"registration": pair.registrations} if pair.registrations else {}),
                }
            ),
        }
        written = self._write_uncertainty(pair, fused, text)
        color_path = self.color_path(pair)
        rgbs = [None if source.rgb is None else source.rgb[:height, :width] for source in pair.sources]
        weights = None if fused.weights is None else fused.weights[:, :height, :width]
        rgb = colour_source(self._clean(pair, rgbs, grey), self.color, weights)
        if self.recorder is not None:
            self.recorder.finish(pair.stem, rgb, text["fingerprint"])
        coloured = None if rgb is None else colourise(grey, rgb, self.color_method)
        if self.layout is not None:
            files = PairFiles(pair.stem, tuple(source.path for source in pair.sources))
            written.append(self.layout.path(files))
            write_as_named(written[-1], grey if coloured is None else coloured, text["fingerprint"])
        if coloured is not None and color_path is not None:
            write_png(color_path, coloured, text)
            written.append(color_path)
            if self.output is not None:
                return written
        write_png(self.recon_path(pair), grey, text)
        return [*written, self.recon_path(pair)]

    def _write_uncertainty(self, pair: Pair, fused: FusedPair, text: dict[str, str]) -> list[Path]:
        """The spread of samples as a picture; where there is none, that of an earlier run goes."""
        path = self.uncertainty_path(pair)
        if path is None or fused.deviation is None:
            if self.output is None:
                (self.folder / "uncertainty" / f"{pair.stem}.png").unlink(missing_ok=True)
            return []
        height, width = output_size(pair.size, self.fit)
        levels = fused.deviation[:height, :width] * level_size(fused.luma[:height, :width], self.stretched)
        write_uncertainty(path, levels, text)
        return [path]

    def _clean(self, pair: Pair, rgbs: list[np.ndarray | None], grey: np.ndarray) -> list[np.ndarray | None]:
        cleaned = clean_all_colours(rgbs, self.noise, grey)
        for name, before, after in zip(source_names(len(rgbs)), rgbs, cleaned, strict=True):
            if after is not before:
                log.info(f"{pair.stem}: noise taken away from the colours of {name}")
        return cleaned

    def start_progress(self, pair: Pair) -> None:
        """Remove the recorded steps of an earlier run, which may have had more of them."""
        if self.recorder is not None:
            self.recorder.start(pair.stem)

    def write_progress(self, pair: Pair, index: int, luma: np.ndarray) -> None:
        """Record the state after a step, truncated to 8 bits, as the released code does."""
        if self.recorder is not None:
            height, width = output_size(pair.size, self.fit)
            state = written_levels(luma[:height, :width], self.stretched).astype(np.uint8)
            self.recorder.add(pair.stem, index, state, self._fingerprint_of(pair))


def _by_name(values: Sequence[T]) -> dict[str, T | list[T]]:
    """What belongs to each source, as records have it: under ``ir`` and ``vi``, or of more sources as one list."""
    if len(values) == 2:
        return dict(zip(source_names(2), values, strict=True))
    return {"sources": list(values)}
