"""The parts of the page that show images and figures, as HTML. Every name that comes from outside is escaped."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from util.images.png import encode_preview
from util.images.uncertainty import LIMIT
from util.page.colour_bar import Bar, bar_of
from util.page.fusing import Progress
from util.page.outcome import Outcome
from util.page.pictures import Picture

LARGE, SMALL = 1400, 260  # the longest sides of what is shown, in pixels

_MEANINGS = {
    "EN": "How much the grey levels vary: entropy, in bits",
    "SD": "Contrast: standard deviation of the levels",
    "MI": "Information shared with both images",
    "VIF": "Visual fidelity to both images",
    "Qabf": "Edges of both images that were kept",
    "SSIM": "Likeness of structure to both images",
    "MI_min": "MI with the image it has less of",
    "VIF_min": "VIF of the image it has less of",
    "CC_min": "Correlation with the image it is less like",
    "SSIM_min": "SSIM with the image it is less like",
}


@dataclass(frozen=True, eq=False)
class Shown:
    """One image of the result. ``key``: names it in the page; ``label``: for people; ``bar``: its scale, if any."""

    key: str
    label: str
    image: np.ndarray
    note: str = ""
    bar: Bar | None = None


def welcome() -> str:
    """What stands where the result will be."""
    return (
        '<div class="ddfm-card ddfm-empty"><h2>Two images in, one image out</h2>'
        "<p>Choose a sample pair, or your own two images of one scene, and press <b>Fuse</b>. "
        "The result appears here, beside its sources.</p>"
        "<p>The images stay on the machine that runs this page, and are removed after a while. "
        "No result is a diagnosis.</p></div>"
    )


def failure(message: object) -> str:
    """An error, a line for each."""
    lines = "".join(f"<p>{escape(line)}</p>" for line in str(message).splitlines())
    return f'<div class="ddfm-card ddfm-error" role="alert"><h2>This did not work:</h2>{lines}</div>'


def sources(pictures: Sequence[Picture]) -> str:
    """What has been chosen."""
    figures = "".join(
        f"<figure>{_img(picture.pixels, 2 * SMALL, f'{ordinal(number)} image')}"
        f"<figcaption><b>{escape(picture.name)}</b><span>{escape(picture.measures)}</span></figcaption></figure>"
        for number, picture in enumerate(pictures)
    )
    return f'<div class="ddfm-card"><h2>Chosen</h2><div class="ddfm-strip ddfm-chosen">{figures}</div></div>'


def ordinal(number: int) -> str:
    """First, Second, Third, and then by number, from 0 on."""
    return ("First", "Second", "Third")[number] if number < 3 else f"{number + 1}th"


def running(progress: Progress) -> str:
    """How far a run is, and the image as it grows."""
    if progress.image is None:
        return (
            f'<div class="ddfm-card"><h2 aria-live="polite">{escape(progress.words.capitalize())} ...</h2>'
            f'<progress></progress><p class="ddfm-time">{progress.seconds:.0f} s</p></div>'
        )
    share = f'max="{progress.steps}" value="{progress.done}"'
    return (
        f'<div class="ddfm-card"><h2>{escape(progress.words.capitalize())} ...</h2><progress {share}></progress>'
        f'<p class="ddfm-time">step {progress.done} of {progress.steps}, {progress.seconds:.0f} s</p>'
        f'<div class="ddfm-growing">{_img(progress.image, 640, "the image so far")}</div></div>'
    )


def result(outcome: Outcome) -> str:
    """A fused scene, to be compared with its sources."""
    return (
        f'<div class="ddfm-card ddfm-result"><h2>Fused in {duration(outcome.seconds)}</h2>'
        f"{_compare(views(outcome))}</div>"
    )


def details(outcome: Outcome) -> str:
    """All its images side by side, its figures, and what made it."""
    shown = views(outcome)
    return (
        f'<div class="ddfm-card"><h2>All images</h2><div class="ddfm-strip">{"".join(map(_figure, shown))}</div>'
        f"{_medical_note(outcome)}</div>"
        f'<div class="ddfm-card"><h2>In figures</h2>{_scores(outcome)}</div>'
        f'<div class="ddfm-card"><h2>What made it</h2>{_made(outcome)}</div>'
    )


def duration(seconds: float) -> str:
    """In words: milliseconds below a second."""
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def views(outcome: Outcome) -> list[Shown]:
    """The images of a result, the fused ones first."""
    found = []
    if outcome.colour is not None:
        coloured = next(s.rgb for s in reversed(outcome.sources) if s.rgb is not None)
        bar = bar_of(coloured) if outcome.medical else None
        found.append(Shown("colour", "Fused, colour", outcome.colour, "with the colours of its source", bar))
    bar = bar_of(outcome.grey) if outcome.medical else None
    found.append(Shown("grey", "Fused, grey", outcome.grey, "its brightness alone", bar))
    if outcome.deviation is not None:
        values = np.rint(np.clip(outcome.deviation, 0, LIMIT) * (255 / LIMIT)).astype(np.uint8)
        bar = Bar(((0, 0, 0), (255, 255, 255)), "0", f"{LIMIT:g} levels or more")
        found.append(Shown("uncertainty", "Uncertainty", values, "how far samples of the result differ", bar))
    for number, picture in enumerate(outcome.sources):
        bar = bar_of(picture.pixels) if outcome.medical else None
        label = f"{ordinal(number)} image"
        found.append(Shown(f"source{number}", label, picture.pixels, picture.name, bar))
    return found


def _compare(shown: Sequence[Shown]) -> str:
    height, width = shown[0].image.shape[:2]
    left, right = shown[0].key, shown[-1].key

    def choice(side: str, key: str) -> str:
        options = "".join(
            f'<option value="{each.key}"{" selected" * (each.key == key)}>{escape(each.label)}</option>'
            for each in shown
        )
        return f'<label>{side}<select class="ddfm-pick" data-side="{side.lower()}">{options}</select></label>'

    images = "".join(
        _img(
            each.image,
            LARGE,
            each.label,
            f'data-key="{each.key}" class="{"left" * (each.key == left)}{"right" * (each.key == right)}"',
        )
        for each in shown
    )
    return (
        f'<div class="ddfm-compare"><div class="ddfm-choices">{choice("Left", left)}{choice("Right", right)}</div>'
        f'<div class="ddfm-stage" style="aspect-ratio:{width}/{height};max-width:calc(70vh*{width}/{height})">'
        f"{images}"
        '<span class="ddfm-line"></span><input class="ddfm-cut" type="range" min="0" max="100" value="50" step="1" '
        'aria-label="how much of the left image is shown, in percent"></div>'
        '<p class="ddfm-hint">Drag over the image, or use the arrow keys.</p></div>'
    )


def _figure(shown: Shown) -> str:
    bar = "" if shown.bar is None else shown.bar.markup()
    return (
        f"<figure>{_img(shown.image, 2 * SMALL, shown.label)}{bar}<figcaption><b>{escape(shown.label)}</b>"
        f"<span>{escape(shown.note)}</span></figcaption></figure>"
    )


def _medical_note(outcome: Outcome) -> str:
    if not outcome.medical:
        return ""
    return (
        '<p class="ddfm-note">Bars are the scales of the images: their grey levels, or the colours of a '
        "colour scale in their order. Image files hold no Hounsfield units and no uptake values.</p>"
    )


def _scores(outcome: Outcome) -> str:
    if not outcome.scores:
        return f"<p>{escape(outcome.unmeasured)}</p>"
    rows = "".join(
        f"<tr><th scope=row>{escape(name)}</th><td>{_number(value)}</td><td>{escape(_MEANINGS[name])}</td></tr>"
        for name, value in outcome.scores.items()
    )
    return (
        "<table class=ddfm-scores><thead><tr><th scope=col>metric</th><th scope=col>value</th>"
        f"<th scope=col>meaning</th></tr></thead><tbody>{rows}</tbody></table>"
        "<p class=ddfm-note>More is better, but a copy of one image can score high in the first six: the four ending "
        "in <b>_min</b> tell whether both are in it.</p>"
    )


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "-"


def _made(outcome: Outcome) -> str:
    made = outcome.provenance
    prior = made.get("prior")
    words = "not asked: the images are clean" if prior else "none"
    if isinstance(prior, dict) and (made["sampler"] or any(made["noise"])):
        words = f"{prior['file']}, sha256 {prior['sha256'][:12]}"
    rows = {
        "method": made["rectification"]["variant"],
        "steps": made["steps"],
        "prior": words,
        "seed": made["seed"],
        "samples": made.get("samples", 1),
        "noise taken off": ", ".join(f"{sigma:.1f}" for sigma in made["noise"]) + " grey levels",
        "alignment": "; ".join(map(_alignment, made.get("registration", []))) or "taken as they are",
        "device": made.get("device", "cpu"),
        "version": f"DDFM {made['versions']['ddfm']}, torch {made['versions']['torch']}",
    }
    lines = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in rows.items())
    return (
        f"<dl class=ddfm-made>{lines}</dl><p class=ddfm-note>All of it is written into the PNG as well.</p>"
    )


def _alignment(outcome: Mapping[str, Any]) -> str:
    """What has been done to an image to bring it onto the last one."""
    if not outcome["used"]:
        return f"left as it was: {outcome['refused']}"
    return f"moved by {outcome['misfit']:.1f} pixels on average ({outcome['model']})"


def _img(image: np.ndarray, longest: int, alt: str, more: str = "") -> str:
    content, (width, height) = encode_preview(image, longest)
    data = base64.b64encode(content).decode()
    return (
        f'<img src="data:image/webp;base64,{data}" alt="{escape(alt)}" width={width} height={height} {more}>'
    )
