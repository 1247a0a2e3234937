"""The command, as far as it goes without gradio."""

from __future__ import annotations

import builtins
import importlib.util
import sys
from typing import Any

import pytest

from util.page import command
from util.page.limits import Limits


def test_without_gradio_the_remedy_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "gradio" else real(name, *rest)
    )
    assert command.main([]) == 2
    said = capsys.readouterr().err
    assert "pip install -r requirements-demo.txt" in said and "Traceback" not in said


def test_the_logic_needs_no_gradio(monkeypatch: pytest.MonkeyPatch):
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        assert name.partition(".")[0] != "gradio"
        return real(name, *rest)

    for name in [name for name in sys.modules if name.startswith("util.page")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    import util.page.command
    import util.page.markup
    import util.page.visit  # noqa: F401


@pytest.mark.parametrize("line", [["--max_pixels", "0"], ["--max_images", "x"], ["--port", "x"]])
def test_limits_are_checked_on_the_command_line(line: list[str]):
    with pytest.raises(SystemExit) as error:
        command.main(line)
    assert error.value.code == 2


def test_what_cannot_be_is_said(capsys: pytest.CaptureFixture[str]):
    assert command.main(["--max_images", "1"]) == 2
    assert command.main(["--device", "abacus"]) == 2
    assert (
        "images is 1, but fusing needs 2" in (said := capsys.readouterr().err)
        and "abacus is no device" in said
    )


def test_defaults():
    args = command.parser().parse_args([])
    assert args.host == "127.0.0.1"
    assert Limits() == Limits(**{name: getattr(args, f"max_{name}") for name in Limits.__dataclass_fields__})
