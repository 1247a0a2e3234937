"""Visitors and their files: none sees another's, and nothing stays."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import make_pair
from util.page.fusing import Desk, Stopped
from util.page.limits import Limits
from util.page.store import Store
from util.page.visit import Form, Visits


@pytest.fixture
def visits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visits]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = Store(60)
    yield Visits(Desk(Limits(), "cpu"), store)
    store.close()


def upload(store: Store, name: str, size: tuple[int, int] = (64, 64)) -> list[Path]:
    make_pair(store.uploads, name, size)
    return [store.uploads / "ir" / f"{name}.png", store.uploads / "vi" / f"{name}.png"]


def test_only_uploads_are_read(visits: Visits, tmp_path: Path):
    make_pair(tmp_path, "mine")
    mine = [tmp_path / "ir/mine.png", tmp_path / "vi/mine.png"]
    (visits.store.uploads / "link.png").symlink_to(mine[0])
    for path in (*mine, visits.store.uploads / "../../ir/mine.png", visits.store.uploads / "link.png"):
        with pytest.raises(ValueError, match="this is no upload of this page"):
            visits.pictures(Form(files=[path]))
    assert [p.name for p in visits.pictures(Form(files=upload(visits.store, "x")))] == ["x.png", "x.png"]


def test_only_samples_are_samples(visits: Visits):
    assert {picture.name for picture in visits.pictures(Form("mri_pet"))} == {"mri_pet.png"}
    for wrong in ("../../ir/mri_pet", ["mri_pet"], "mri_pet.png", 3):
        with pytest.raises((ValueError, TypeError)):
            visits.pictures(Form(wrong))


def test_a_sample_knows_what_it_shows(visits: Visits):
    assert visits.start(Form("mri_pet"), "a").choices.scene == "mif"
    assert visits.start(Form("mri_pet", scene="ivf"), "a").choices.scene == "ivf"
    assert visits.start(Form("smoke"), "a").choices.scene == "auto"
    assert visits.start(Form("smoke", steps=0), "a").choices.steps is None
    assert visits.start(Form("smoke", steps=3), "a").choices.steps == 3


def test_a_session_stops_its_own_run_and_no_other(visits: Visits):
    files = upload(visits.store, "x")
    runs = {name: visits.start(Form(files=files, method="local_fast"), name) for name in ("a", "b")}
    visits.stop("a")
    visits.stop("nobody")
    for run in runs.values():
        list(run.follow())
    with pytest.raises(Stopped, match="as you asked"):
        visits.finish(runs["a"])
    outcome, (png, archive) = visits.finish(runs["b"])
    _, (other, _) = visits.finish(runs["b"])
    assert png.is_file() and archive.is_file() and png.parent != other.parent
    assert outcome.grey.shape == (64, 64)
    first = visits.start(Form(files=files, method="released"), "c")
    visits.start(Form(files=files, method="released"), "c")
    list(first.follow())
    with pytest.raises(Stopped, match="another one was started"):
        first.outcome()


def test_a_visitor_who_waits_can_stop_and_the_line_has_an_end(visits: Visits):
    visits.desk.limits = Limits(waiting=1)
    form = Form(files=upload(visits.store, "x"), method="local_fast")
    runs = [visits.start(form, name) for name in ("a", "b")]
    with visits.desk.turn:  # somebody else's scene takes long
        following = [run.follow() for run in runs]
        assert {next(each).words for each in following} == {"waiting for the scene before"}
        with pytest.raises(ValueError, match="2 visitors are before you"):
            visits.start(form, "c")
        visits.stop("b")
        list(following[1])
        with pytest.raises(Stopped, match="as you asked"):
            runs[1].outcome()
        assert visits.start(form, "c") is not None
    list(following[0])
    assert runs[0].outcome().grey.shape == (64, 64)


def test_files_are_removed(visits: Visits):
    store = visits.store
    old, new = upload(store, "old"), upload(store, "new")
    folder = store.new_folder()
    (folder / "fused.png").touch()
    for path in (*old, folder / "fused.png", folder):
        os.utime(path, (time.time() - 3601, time.time() - 3601))
    store.sweep()
    assert not any(path.exists() for path in (*old, folder)) and all(path.exists() for path in new)
    assert store.uploads.is_dir()
    assert store.root.stat().st_mode & 0o077 == 0  # of this user alone
    store.close()
    assert not store.root.exists()


def test_they_are_removed_without_anybody_asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = Store(0.01)  # of a minute
    paths = upload(store, "x")
    deadline = time.monotonic() + 30
    while any(path.exists() for path in paths) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(path.exists() for path in paths)
    store.close()
