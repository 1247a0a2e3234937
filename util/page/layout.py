"""The page itself, in gradio: what is asked, and where what comes of it is shown."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.themes import Base

from util.page import markup
from util.page.choices import METHODS, NOISES, REGISTERS, SAMPLES, SCENES, TONES, priors
from util.page.fusing import Stopped
from util.page.visit import Form, Visits

TITLE = "DDFM: image fusion"
FONTS = ["system-ui", "Segoe UI", "Roboto", "Helvetica", "Arial", "sans-serif"]
CSS = Path(__file__).parent / "page.css"
_HEAD = (
    '<div class="ddfm-head"><h1>Image fusion</h1><p>Two images of one scene become one: infrared and visible light, '
    "or MRI with CT, PET or SPECT.</p></div>"
)

log = logging.getLogger("ddfm")


def theme() -> Base:
    """Fonts of the machine that looks at the page: nothing is fetched from outside."""
    return Base(
        primary_hue="teal",
        neutral_hue="slate",
        radius_size="lg",
        font=FONTS,
        font_mono=["ui-monospace", "monospace"],
    )


def head() -> str:
    """What goes into the head of the page."""
    script = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")
    return f"<script>{script}</script>"


@dataclass(frozen=True)
class _Asked:
    """The parts that a visitor fills in; ``settings``: in the order of the fields of a form, after its files."""

    sample: gr.Dropdown
    uploads: list[gr.File]
    method: gr.Radio
    about: gr.HTML
    settings: list[Any]
    go: gr.Button
    stop: gr.Button


@dataclass(frozen=True)
class _Shown:
    """The parts in which a result appears."""

    stage: gr.HTML
    downloads: gr.Row
    png: gr.DownloadButton
    archive: gr.DownloadButton
    details: gr.HTML


def build(visits: Visits) -> gr.Blocks:
    """The page, ready to be launched."""
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.HTML(_HEAD)
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=320, elem_classes="ddfm-asked"):
                asked = _ask(visits)
            with gr.Column(scale=7, min_width=320):
                shown = _show()
        _answer(page, visits, asked, shown)
    page.queue(api_open=False)
    return page


def _ask(visits: Visits) -> _Asked:
    limits = visits.desk.limits
    gr.HTML(_step("1. Images"))
    sample = gr.Dropdown(
        [("none", ""), *((_words(name), name) for name in visits.samples)],
        value="", label="Sample pair", elem_id="sample", filterable=False,
    )  # fmt: skip
    first = gr.File(label="First image: infrared, CT, PET or SPECT", height=104, elem_id="first")
    second = gr.File(label="Second image: visible light or MRI", height=104, elem_id="second")
    with gr.Accordion("More than two images", open=False):
        more = gr.File(
            label="Further images of the same scene", file_count="multiple", height=104, elem_id="more"
        )
    gr.HTML(
        f'<p class="ddfm-note">PNG, JPEG, TIFF, BMP or WebP, 8 or 16 bits; up to {limits.megabytes} MB '
        f"and {limits.pixels / 1e6:g} million pixels each.</p>"
    )
    gr.HTML(_step("2. Method"))
    method = gr.Radio(
        [(words, name) for name, (words, _) in METHODS.items()], value="local", label="Method", show_label=False,
        elem_id="method",
    )  # fmt: skip
    about = gr.HTML(_about("local"), elem_id="about")
    with gr.Accordion("Settings", open=False, elem_id="settings"):
        settings = _settings()
    with gr.Row():
        go = gr.Button("Fuse", variant="primary", elem_id="go")
        stop = gr.Button("Stop", interactive=False, elem_id="stop")
    return _Asked(sample, [first, second, more], method, about, settings, go, stop)


def _settings() -> list[Any]:
    scene = _choice("What the images show", SCENES, "scene")
    register = _choice("Alignment of the images", REGISTERS, "register")
    noise = _choice("Noise in the images", NOISES, "noise")
    tones = {name: words for name, (words, _) in TONES.items()}
    tone = _choice("Contrast (the two local methods)", tones, "tone")
    prior = _choice("Prior: the network that knows images", priors(), "prior")
    label = "Steps (0: as many as the method has)"
    steps = gr.Number(0, label=label, precision=0, minimum=0, elem_id="steps")
    samples = _choice("Uncertainty (noisy images, or a DDFM method)", SAMPLES, "samples")
    return [scene, noise, tone, prior, steps, samples, register]


def _show() -> _Shown:
    stage = gr.HTML(markup.welcome(), elem_id="stage")
    with gr.Row(visible=False) as downloads:
        png = gr.DownloadButton("Download the image (PNG)", elem_id="png")
        archive = gr.DownloadButton("Download everything (ZIP)", elem_id="zip")
    return _Shown(stage, downloads, png, archive, gr.HTML("", elem_id="details"))


def _answer(page: gr.Blocks, visits: Visits, asked: _Asked, shown: _Shown) -> None:
    """What happens when something is chosen or pressed."""

    def preview(name: str, *files: Any) -> Any:
        form = Form(name, _paths(files))
        try:
            chosen = markup.sources(visits.pictures(form)) if form.sample or form.files else markup.welcome()
        except ValueError as error:
            chosen = markup.failure(error)
        return chosen, gr.Row(visible=False), ""

    def fuse(request: gr.Request, name: str, *rest: Any) -> Iterator[Any]:
        yield {**_buttons(asked, busy=True), shown.downloads: gr.Row(visible=False), shown.details: ""}
        yield from _fuse(visits, Form(name, _paths(rest[:3]), *rest[3:]), str(request.session_hash), shown)
        yield _buttons(asked, busy=False)

    def halt(request: gr.Request) -> None:
        visits.stop(str(request.session_hash))

    def leave(request: gr.Request) -> None:
        visits.forget(str(request.session_hash))

    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    show = [preview, [asked.sample, *asked.uploads], [shown.stage, shown.downloads, shown.details]]
    asked.sample.input(lambda: [None] * 3, None, asked.uploads, **quick).then(*show, **quick)
    for upload in asked.uploads:
        upload.upload(lambda: "", None, asked.sample, **quick).then(*show, **quick)
        upload.clear(*show, **quick)
    asked.method.change(_about, asked.method, asked.about, **quick)
    asked.go.click(
        fuse,
        [asked.sample, *asked.uploads, asked.method, *asked.settings],
        [shown.stage, shown.downloads, shown.png, shown.archive, shown.details, asked.go, asked.stop],
        concurrency_limit=None,  # visitors wait at the desk, where they are told so
        show_progress="hidden", api_visibility="private",
    )  # fmt: skip
    asked.stop.click(halt, None, None, **quick)
    page.unload(leave)


def _fuse(visits: Visits, form: Form, session: str, shown: _Shown) -> Iterator[dict[Any, Any]]:
    """What the page shows of a run from its start to its end, whichever that is."""
    try:
        run = visits.start(form, session)
        for progress in run.follow():
            yield {shown.stage: markup.running(progress)}
        outcome, files = visits.finish(run)
        yield {
            shown.stage: markup.result(outcome), shown.details: markup.details(outcome),
            shown.downloads: gr.Row(visible=True), shown.png: str(files[0]), shown.archive: str(files[1]),
        }  # fmt: skip
    except Stopped as reason:
        yield {shown.stage: markup.failure(f"Stopped: {reason}.")}
    except (ValueError, FloatingPointError) as error:
        yield {shown.stage: markup.failure(error)}
    except MemoryError:
        yield {shown.stage: markup.failure("there is too little memory for these images; use smaller ones")}
    except Exception:  # whose words are for whoever runs the page, not for visitors
        log.exception("a visitor's images could not be fused")
        words = "Something went wrong in the program; what it was is in the log of the page."
        yield {shown.stage: markup.failure(words)}


def _buttons(asked: _Asked, busy: bool) -> dict[Any, Any]:
    return {asked.go: gr.Button(interactive=not busy), asked.stop: gr.Button(interactive=busy)}


def _choice(label: str, words: Mapping[Any, str], elem_id: str) -> gr.Dropdown:
    return gr.Dropdown(
        [(text, name) for name, text in words.items()], value=next(iter(words)), label=label, elem_id=elem_id,
        filterable=False,
    )  # fmt: skip


def _step(name: str) -> str:
    return f'<h2 class="ddfm-step">{name}</h2>'


def _about(name: str) -> str:
    return f'<p class="ddfm-note">{METHODS[name][1]}</p>' if name in METHODS else ""


def _words(sample: str) -> str:
    parts = sample.split("_")
    if "mri" in parts:
        return "Brain: " + " and ".join(part.upper() for part in parts)
    return f"{sample.replace('_', ' ').capitalize()}: infrared and visible"


def _paths(files: Sequence[Any]) -> list[Path]:
    """Of one file, several or none in each place."""
    found: list[Path] = []
    for part in files:
        found += [Path(each) for each in (part if isinstance(part, list) else [part]) if each]
    return found
