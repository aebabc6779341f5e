"""The rules of the house that no linter knows: sizes, words, what is in the wheel, what every command's help says."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from channels.commands import COMMANDS, command_line
from channels.families import FAMILIES
from hub.core.limits import Limits
from hub.lazy_commands import load
from hub.ops.settings import LIMITS_SECTION, model_of
from tests.support.hub_process import HUB_COMMAND, clean_environment
from tools.sources import tracked

ROOT = Path(__file__).parents[1]
MAX_MODULE_LINES = 600


FILES = tracked(ROOT)
MODULES = [path for path in FILES if path.suffix == ".py"]
TEXTS = [path for path in FILES if b"\0" not in path.read_bytes()[:8192]]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def where(pattern: str, paths: list[Path], flags: re.RegexFlag = re.IGNORECASE) -> list[str]:
    """Every line that the pattern is found in, as ``file:line: text``."""
    search = re.compile(pattern, flags).search
    return [
        f"{relative(path)}:{number}: {line.strip()[:120]}"
        for path in paths
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if search(line)
    ]


def test_modules_have_one_job() -> None:
    large = {relative(path): lines for path in MODULES if (lines := len(path.read_text().splitlines())) > MAX_MODULE_LINES}
    assert large == {}


def test_no_module_is_a_drawer() -> None:
    assert [relative(path) for path in MODULES if path.stem in {"utils", "_utils", "helpers", "misc", "common"}] == []


def test_nothing_is_left_undone() -> None:
    own = [path for path in MODULES if path != Path(__file__)]
    assert where(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError", own, re.NOFLAG) == []


def test_no_text_holds_the_marks_of_a_merge() -> None:
    """In a docstring they stop nothing: no linter and no other test sees them."""
    assert where(r"^(<{7}|>{7}|\|{7}) ", TEXTS) == []


def test_decoders_of_own_types_are_made_at_the_import() -> None:
    """Where two threads decode a type for the first time at once, msgspec 0.22 ends the process by a segmentation fault."""
    product = [path for path in MODULES if relative(path).startswith(("hub/", "channels/"))]
    assert where(r"msgspec\.(json|msgpack)\.decode\(.*type=(?!str\)|msgspec\.Raw\)|dict\[|list\[)", product, re.NOFLAG) == []


def test_no_exception_is_swallowed_unseen() -> None:
    """A bare ``except``, or ``except Exception: pass``, hides a fault."""
    found = []
    for path in MODULES:
        for handler in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ExceptHandler)):
            broad = handler.type is None or (isinstance(handler.type, ast.Name) and handler.type.id in {"Exception", "BaseException"})
            if broad and len(handler.body) == 1 and isinstance(handler.body[0], ast.Pass):
                found.append(f"{relative(path)}:{handler.lineno}")
    assert found == []


def test_no_address_of_a_package_mirror() -> None:
    hosts = ["registry" + r"\.npmjs", "files" + r"\.pythonhosted", "pypi" + r"\.org/simple", "--index" + "-url", "--extra" + "-index"]
    assert where("|".join(hosts), TEXTS) == []


def test_no_path_of_a_machine() -> None:
    folders = "|".join(["home", "root", "Users", "work", "farm"])
    # in these letters: /users/read is an operation
    assert where(rf"(?<![\w.\-:/}}*$~])/(?:{folders})/[a-z._]", [path for path in TEXTS if path != Path(__file__)], re.NOFLAG) == []


def test_the_version_stands_in_one_place() -> None:
    version = re.escape(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])
    assert [line.partition(":")[0] for line in where(rf"\bversion\s*=\s*\"{version}\"", TEXTS)] == ["pyproject.toml"]


def test_lock_file_names_no_host() -> None:
    text = (ROOT / "tests/clients/node/package-lock.json").read_text()
    assert '"resolved"' not in text
    assert "://" not in re.sub(r'"(?:url|homepage)": "[^"]*"', "", text)


def test_constraints_pin_every_dependency_exactly() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    names = {re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0].lower() for requirement in wanted}
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)] == []
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in lines}
    assert {name.replace("_", "-") for name in names} - pinned == set()


def test_node_packages_are_pinned_exactly() -> None:
    packages = json.loads((ROOT / "tests/clients/node/package.json").read_text())["dependencies"]
    assert [name for name, version in packages.items() if not re.fullmatch(r"(npm:[a-z-]+@)?\d+\.\d+\.\d+", version)] == []


def test_the_layout_for_newcomers_names_every_package() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    layout = text[text.index("## Layout") : text.index("Rules that a test or a linter checks")]
    packages = {path.parent.relative_to(ROOT).as_posix() for path in MODULES if path.name == "__init__.py"}
    there = [name.partition("/")[2] for name in sorted(packages) if re.fullmatch(r"(?:hub|channels)/[a-z_]+", name)]
    assert [name for name in there if not re.search(rf"\b{name}/", layout)] == []


def test_every_test_folder_is_a_package() -> None:
    folders = {path.parent for path in MODULES if path.is_relative_to(ROOT / "tests")}
    assert [relative(folder) for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names in a wheel that is built from a copy of the tracked files: nothing that git does not know gets in."""
    copy = tmp_path_factory.mktemp("source")
    for path in FILES:
        target = copy / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    offline = ["--no-deps", "--no-build-isolation", "--no-index"]
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", *offline, "--wheel-dir", "dist", "."]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = (copy / "dist").glob("*.whl")
    return zipfile.ZipFile(built).namelist()


def test_wheel_holds_package_data(wheel: list[str]) -> None:
    sources = [path for path in FILES if path.relative_to(ROOT).parts[0] in {"hub", "channels"}]
    assert {relative(path) for path in sources} - set(wheel) == set()
    assert any(name.endswith("library.toml") for name in wheel)
    assert "hub/py.typed" in wheel  # or the type checker of who uses the client sees Any
    assert any(name.startswith("channels/wallboard/") and name.endswith(".html") for name in wheel)
    assert any("/migrations/" in name and re.search(r"_\d{4}_[^/]*\.py$", name) for name in wheel)


def test_wheel_holds_nothing_else(wheel: list[str]) -> None:
    assert [name for name in wheel if not name.startswith(("hub/", "channels/", "cx_event_hub-"))] == []


def test_source_archive_holds_all_that_its_tests_need() -> None:
    included = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    folders = {path.relative_to(ROOT).parts[0] for path in FILES if path.parent != ROOT}
    assert {folder for folder in folders if not folder.startswith(".")} - set(included) == set()


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every command; groups do nothing themselves."""
    inner = getattr(command, "commands", {})
    if not inner:
        yield path
    for name, below in inner.items():
        yield from commands(below, (*path, name))


def every_command() -> list[tuple[str, ...]]:
    return [(), *(path for line in COMMANDS for path in commands(load(line), (line.name,)))]


@pytest.mark.parametrize("path", every_command(), ids=lambda path: " ".join(path) or "hub")
def test_help_shows_an_example(path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    shown = CliRunner().invoke(command_line, [*path, "--help"], prog_name="hub")
    assert shown.exit_code == 0, shown.output
    assert " ".join(("hub", *path)) in shown.output
    assert re.search(r"Examples?:", shown.output), shown.output


def test_unknown_command_is_refused() -> None:
    done = subprocess.run([str(HUB_COMMAND), "srve"], capture_output=True, text=True, env=clean_environment(), timeout=60, check=False)
    assert done.returncode == 2
    assert "srve" in done.stderr


def test_generated_documents_are_current() -> None:
    done = subprocess.run([sys.executable, "-m", "tools.reference", "--check"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_setting_is_documented() -> None:
    page = (ROOT / "docs/settings.md").read_text(encoding="utf-8")

    def keys(model: type[BaseModel], lead: str = "HUB_") -> Iterator[str]:
        for name, field in model.model_fields.items():
            inner = LIMITS_SECTION if field.annotation is Limits else field.annotation
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from keys(inner, f"{lead}{name.upper()}__")
            else:
                assert field.description, name
                yield f"{lead}{name.upper()}"

    assert [key for key in keys(model_of(FAMILIES)) if key not in page] == []
