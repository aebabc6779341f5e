"""Extensions by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.bayeux.extensions import Extension
from hub.ops.plugins import load_extensions
from hub.ops.settings import SettingsError

SOURCE = """
from hub.bayeux.extensions import Extension

class Good(Extension):
    pass

class Needy(Extension):
    def __init__(self, something):
        pass

class Other:
    pass
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return path


def test_from_a_file(file: Path) -> None:
    (made,) = load_extensions([f"{file}:Good"])
    assert type(made).__name__ == "Good"


def test_from_a_module() -> None:
    (made,) = load_extensions(["hub.bayeux.extensions:Extension"])
    assert type(made) is Extension


def test_all_that_is_wrong_is_said_at_once(file: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0")
    names = ["nothing", f"{file}:Missing", f"{file}:Other", f"{file}:Needy", f"{broken}:X", f"{tmp_path}/no.py:X", "no.such.module:X"]
    with pytest.raises(SettingsError) as refused:
        load_extensions(names)
    assert len(refused.value.problems) == len(names)
    assert "expected module:Class" in refused.value.problems[0]
    assert "which is nothing" in refused.value.problems[1]
    assert "ZeroDivisionError" in refused.value.problems[4]
