"""Files appear whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from util import files
from util.files import remove_abandoned, write_atomically


def test_a_file_is_written_with_the_usual_permissions(tmp_path: Path):
    path = tmp_path / "new/folder/a.bin"
    old_mask = os.umask(0o027)
    try:
        write_atomically(path, b"content")
    finally:
        os.umask(old_mask)
    assert path.read_bytes() == b"content"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [p.name for p in path.parent.iterdir()] == ["a.bin"]


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
):
    path = tmp_path / "a.bin"
    write_atomically(path, b"old")

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os if where == "fsync" else files.Path, where, full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_only_what_was_abandoned_is_removed(tmp_path: Path):
    for name, age in (
        (".part-old.tmp", 3600),
        (".part-new.tmp", 1),
        ("image.png", 3600),
        (".part-x.png", 3600),
    ):
        path = tmp_path / name
        path.write_bytes(b"")
        then = path.stat().st_mtime - age
        os.utime(path, (then, then))
    remove_abandoned(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".part-new.tmp", ".part-x.png", "image.png"]
    remove_abandoned(tmp_path / "nowhere")
