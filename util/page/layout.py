"""The page itself, in gradio: what is asked, and where what comes of it is shown."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
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


def build(visits: Visits) -> gr.Blocks:
    """The page, ready to be launched."""
    limits = visits.desk.limits
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.HTML(_HEAD)
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=320, elem_classes="ddfm-asked"):
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
                    )  # fmt: skip
                gr.HTML(
                    f'<p class="ddfm-note">PNG, JPEG, TIFF, BMP or WebP, 8 or 16 bits; up to {limits.megabytes} MB '
                    f"and {limits.pixels / 1e6:g} million pixels each.</p>"
                )
                gr.HTML(_step("2. Method"))
                method = gr.Radio(
                    [(words, name) for name, (words, _) in METHODS.items()], value="local", label="Method",
                    show_label=False, elem_id="method",
                )  # fmt: skip
                about = gr.HTML(_about("local"), elem_id="about")
                with gr.Accordion("Settings", open=False, elem_id="settings"):
                    scene = _choice("What the images show", SCENES, "scene")
                    register = _choice("Alignment of the images", REGISTERS, "register")
                    noise = _choice("Noise in the images", NOISES, "noise")
                    tone = _choice(
                        "Contrast (the two local methods)",
                        {name: words for name, (words, _) in TONES.items()},
                        "tone",
                    )
                    prior = _choice("Prior: the network that knows images", priors(), "prior")
                    steps = gr.Number(
                        0,
                        label="Steps (0: as many as the method has)",
                        precision=0,
                        minimum=0,
                        elem_id="steps",
                    )
                    samples = _choice("Uncertainty (noisy images, or a DDFM method)", SAMPLES, "samples")
                with gr.Row():
                    go = gr.Button("Fuse", variant="primary", elem_id="go")
                    stop = gr.Button("Stop", interactive=False, elem_id="stop")
            with gr.Column(scale=7, min_width=320):
                stage = gr.HTML(markup.welcome(), elem_id="stage")
                with gr.Row(visible=False) as downloads:
                    png = gr.DownloadButton("Download the image (PNG)", elem_id="png")
                    archive = gr.DownloadButton("Download everything (ZIP)", elem_id="zip")
                details = gr.HTML("", elem_id="details")

        def preview(name: str, *files: Any) -> Any:
            form = Form(name, _paths(files))
            try:
                shown = (
                    markup.sources(visits.pictures(form)) if form.sample or form.files else markup.welcome()
                )
            except ValueError as error:
                shown = markup.failure(error)
            return shown, gr.Row(visible=False), ""

        def fuse(request: gr.Request, name: str, *rest: Any) -> Iterator[Any]:
            form = Form(name, _paths(rest[:3]), *rest[3:])
            busy, idle = (
                {go: gr.Button(interactive=not on), stop: gr.Button(interactive=on)} for on in (True, False)
            )
            yield {**busy, downloads: gr.Row(visible=False), details: ""}
            try:
                run = visits.start(form, str(request.session_hash))
                for progress in run.follow():
                    yield {stage: markup.running(progress)}
                outcome, files = visits.finish(run)
                yield {
                    **idle, stage: markup.result(outcome), details: markup.details(outcome),
                    downloads: gr.Row(visible=True), png: str(files[0]), archive: str(files[1]),
                }  # fmt: skip
            except Stopped as reason:
                yield {**idle, stage: markup.failure(f"Stopped: {reason}.")}
            except (ValueError, FloatingPointError, MemoryError, OSError) as error:
                yield {**idle, stage: markup.failure(error)}
            except Exception:
                log.exception("a visitor's images could not be fused")
                words = "Something went wrong in the program; what it was is in the log of the page."
                yield {**idle, stage: markup.failure(words)}

        uploads = [first, second, more]
        quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        sample.input(lambda: [None] * 3, None, uploads, **quick).then(
            preview, [sample, *uploads], [stage, downloads, details], **quick
        )
        for upload in uploads:
            upload.upload(lambda: "", None, sample, **quick).then(
                preview, [sample, *uploads], [stage, downloads, details], **quick
            )
            upload.clear(preview, [sample, *uploads], [stage, downloads, details], **quick)
        method.change(_about, method, about, **quick)
        go.click(
            fuse,
            [sample, *uploads, method, scene, noise, tone, prior, steps, samples, register],
            [stage, downloads, png, archive, details, go, stop],
            concurrency_limit=1, show_progress="hidden", api_visibility="private",
        )  # fmt: skip

        def halt(request: gr.Request) -> None:
            visits.stop(str(request.session_hash))

        def leave(request: gr.Request) -> None:
            visits.forget(str(request.session_hash))

        stop.click(halt, None, None, **quick)
        page.unload(leave)
    page.queue(max_size=limits.waiting, api_open=False)
    return page


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
