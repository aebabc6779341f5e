import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import typer
from pydantic import BaseModel, Field, SecretStr
from typer.testing import CliRunner

from channels.families import FAMILIES
from hub.ops.cli import register
from hub.ops.reference import reference, render, sections
from hub.ops.settings import Settings, model_of


class Inner(BaseModel):
    """Inner."""

    depth: int = Field(default=2, description="How deep.")


class Odd(BaseModel):
    """Settings of every kind."""

    need: int = Field(description="Must | be there.")
    choice: Literal["a", "b"] = Field(default="a", description="One of two.")
    maybe: float | None = Field(default=None, description="May be missing.")
    table: dict[str, int] = Field(default={"x": 1}, description="A table.")
    items: list[str] = Field(default=["é", 'q"'], description="A list.")
    inner: Inner = Field(default_factory=Inner, description="Within ``odd``.")
    hidden: SecretStr = Field(default=SecretStr("geheim"), description="Nobody sees it.")


MODEL: Any = model_of([SimpleNamespace(name="odd", settings=Odd)])  # type: ignore[list-item]


def test_every_setting_is_described() -> None:
    undescribed = [
        f"{name}.{key}" for name, _, model in sections(Settings) for key, field in model.model_fields.items() if not field.description
    ]
    assert undescribed == []


def test_the_reference_has_a_row_for_every_key_with_its_variable() -> None:
    text = reference()
    found = list(sections(Settings))
    names = {name for name, _, _ in found}
    for name, _, model in found:
        for key in model.model_fields:
            variable = f"HUB_{name}__{key}".upper() if name else f"HUB_{key}".upper()
            assert (f"| `{key}` | `{variable}` |" in text) or (not name and key in names)


@pytest.mark.parametrize(
    "row",
    [
        "| `need` | `HUB_ODD__NEED` | integer | required | Must \\| be there. |",
        '| `choice` | `HUB_ODD__CHOICE` | `a`, `b` | `"a"` | One of two. |',
        "| `maybe` | `HUB_ODD__MAYBE` | number |  | May be missing. |",
        '| `table` | `HUB_ODD__TABLE` | table | `{ "x" = 1 }` | A table. |',
        '| `items` | `HUB_ODD__ITEMS` | list | `["é", "q\\""]` | A list. |',
        '| `hidden` | `HUB_ODD__HIDDEN` | text | `"********"` | Nobody sees it. |',
        "## `[odd.inner]`\n\nWithin `odd`.",
        "| `depth` | `HUB_ODD__INNER__DEPTH` | integer | `2` | How deep. |",
        "| `allowed_origins` | `HUB_ALLOWED_ORIGINS` | list | `[]` |",
    ],
)
def test_a_row_says_type_default_and_meaning(row: str) -> None:
    assert row in reference(MODEL)


def test_settings_in_force_are_toml_without_secrets() -> None:
    made = MODEL(secret="x" * 16, database_url="postgres://ana:geheim@h/d", odd={"need": 1}, port=9)
    text = render(made)
    assert "geheim" not in text
    assert "x" * 16 not in text
    read = tomllib.loads(text)
    assert (read["port"], read["secret"], read["odd"]["items"], read["limits"]["max_batch"]) == (9, "********", ["é", 'q"'], 100)
    assert read["odd"]["inner"] == {"depth": 2}
    assert "redis_url" not in read
    assert "maybe" not in read["odd"]


def test_keys_in_urls_and_options_are_not_shown() -> None:
    options = {"azure_storage_account_key": "geheim1", "sas_token": "geheim2", "google_service_account": "/key.json"}
    made = MODEL(
        database_url="postgres://ana@h/d?sslmode=require&password=geheim3",
        redis_url="redis://h:1,redis://:geheim4@h:2",
        objects={"url": "az://files", "options": options},
        odd={"need": 1},
    )
    text = render(made)
    assert "geheim" not in text
    read = tomllib.loads(text)
    assert read["database_url"] == "postgres://[hidden]@h/d?sslmode=[hidden]&password=[hidden]"
    assert read["redis_url"] == "redis://h:1,redis://[hidden]@h:2"
    assert read["objects"]["options"] == {**dict.fromkeys(options, "********"), "google_service_account": "/key.json"}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    register(app)
    app.callback()(lambda: None)
    return lambda *arguments: CliRunner().invoke(app, ["config", *arguments])


def test_the_command_prints_what_is_in_force(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_PORT", "9")
    result = run("--data-dir", "elsewhere")
    assert result.exit_code == 0
    assert 'data_dir = "elsewhere"' in result.stdout
    assert re.search(r"^port = 9$", result.stdout, re.MULTILINE)


def test_the_command_prints_the_reference(run: Callable[..., Any]) -> None:
    assert run("--reference").stdout == reference()


def test_the_command_says_what_is_wrong_and_ends_with_2(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_PROT", "9")
    result = run()
    assert (result.exit_code, result.stdout) == (2, "")
    assert "HUB_PROT: no such setting (from the environment); did you mean HUB_PORT?" in result.stderr


def test_the_page_of_settings_is_current() -> None:
    page = Path(__file__).parents[3] / "docs" / "settings.md"
    assert page.read_text(encoding="utf-8") == reference(model_of(FAMILIES)), "make it anew: hub config --reference > docs/settings.md"
