"""Visitors: what each asks for, the run that is theirs, and the files that they get."""

from __future__ import annotations

import dataclasses
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guided_diffusion.local.weights import task_of_names
from util.page.choices import Choices
from util.page.fusing import Desk, Run
from util.page.outcome import Outcome, write_files
from util.page.pictures import Picture, read_pictures, sample_pairs
from util.page.store import Store


@dataclass(frozen=True)
class Form:
    """What the page asks, as it comes from a browser: nothing of it has been checked. ``steps`` 0: the method's."""

    sample: Any = ""
    files: list[Path] = field(default_factory=list)
    method: Any = "local"
    scene: Any = "auto"
    noise: Any = "preset"
    tone: Any = "preset"
    prior: Any = "auto"
    steps: Any = 0
    samples: Any = 1
    register: Any = "off"


class Visits:
    """All visitors of a page. Those of different sessions share nothing but the desk, where they take turns."""

    def __init__(self, desk: Desk, store: Store) -> None:
        self.desk, self.store = desk, store
        self.samples = sample_pairs()
        self._runs: dict[str, Run] = {}
        self._guard = threading.Lock()

    def pictures(self, form: Form) -> list[Picture]:
        """The images that a form names. Raises ValueError for what cannot be used, or is no upload."""
        if form.sample:
            if form.sample not in self.samples:
                raise ValueError(f"there is no sample pair {form.sample!r:.80}; choose one of the list")
            return read_pictures(self.samples[form.sample], self.desk.limits)
        if not all(self.store.owns(path) for path in form.files):
            raise ValueError("this is no upload of this page; upload the image again")
        return read_pictures(form.files, self.desk.limits)

    def start(self, form: Form, session: str) -> Run:
        """The run of a form, to be followed; one that the session still has is stopped. Raises ValueError."""
        steps = None if form.steps == 0 else form.steps
        choices = Choices(
            form.method, form.scene, form.prior, steps, form.noise, form.tone, form.samples, form.register
        )
        known = task_of_names([str(form.sample)])
        if choices.scene == "auto" and form.sample and known is not None:
            choices = dataclasses.replace(choices, scene=known[0])
        run = Run(self.desk, self.pictures(form), choices)
        with self._guard:
            waiting = sum(other.under_way for other in self._runs.values())
            if waiting > self.desk.limits.waiting:
                raise ValueError(f"{waiting} visitors are before you; try again in some minutes")
            before = self._runs.get(session)
            self._runs[session] = run
        if before is not None:
            before.stop("another one was started")
        return run

    def finish(self, run: Run) -> tuple[Outcome, tuple[Path, Path]]:
        """What has come of a run, and its PNG and ZIP. Raises what ended it."""
        outcome = run.outcome()
        return outcome, write_files(outcome, self.store.new_folder())

    def stop(self, session: str) -> None:
        """End the run of a session after the step that it is in."""
        with self._guard:
            run = self._runs.get(session)
        if run is not None:
            run.stop("as you asked")

    def forget(self, session: str) -> None:
        """The visitor has gone."""
        self.stop(session)
        with self._guard:
            self._runs.pop(session, None)
