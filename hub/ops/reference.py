"""Makes the reference of the settings from their descriptions, and prints the current settings as TOML."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from hub.core.limits import Limits
from hub.core.secret_names import url_without_secrets
from hub.ops.logging import mask
from hub.ops.settings import CLIENT_VARIABLES, ENV_DELIMITER, ENV_PREFIX, LIMITS_SECTION, Settings

HIDDEN: Final = "********"

_KEY: Final = re.compile(r"(?i)(key|token|secret|password)$")
"""The ends of names of options, such as those of object stores, whose values are not shown."""

_WITH_QUERY: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^?]*\?")


def sections(model: type[BaseModel]) -> Iterator[tuple[str, str, type[BaseModel]]]:
    """The sections of the settings: name (with dots, as in TOML), summary, model. The hub's own settings come first, with an empty name."""
    yield from _sections("", "The hub itself.", model)


def _sections(name: str, summary: str, model: type[BaseModel]) -> Iterator[tuple[str, str, type[BaseModel]]]:
    yield name, summary, model
    for key, field in model.model_fields.items():
        if (section := _section(field)) is not None:
            yield from _sections(f"{name}.{key}" if name else key, (field.description or "").replace("``", "`"), section)


def _section(field: FieldInfo) -> type[BaseModel] | None:
    annotation = field.annotation
    if annotation is Limits:
        return LIMITS_SECTION
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def reference(model: type[Settings] = Settings) -> str:
    """Markdown: every setting of ``model`` (:func:`hub.ops.settings.model_of`), its environment variable, type, default and meaning."""
    lines = [
        "# Settings",
        "",
        "This page is made by `hub config --reference`; `hub config` prints what is in force, secrets hidden.",
        "",
        "Flags win over environment variables, these over the TOML file: the one that `--config` names, else `hub.toml` in the current",
        "folder.",
        "Unknown keys are errors. An empty environment variable counts as not set. A list in the environment is what stands between",
        "commas (`HUB_ALLOWED_ORIGINS=https://a.example.com,https://b.example.com`), or JSON; a table is JSON.",
        f"{', '.join(f'`{name}`' for name in sorted(CLIENT_VARIABLES))} belong to the client commands.",
        "",
        "The same setting three times, the strongest first:",
        "",
        '<!-- example: background until="listening" -->',
        "```sh",
        "hub serve --port 9000",
        "```",
        "",
        '<!-- example: background until="listening" -->',
        "```sh",
        "HUB_PORT=9000 hub serve",
        "```",
        "",
        '<!-- example: file="hub.toml" -->',
        "```toml",
        "# hub.toml",
        "port = 9000",
        "",
        "[limits]                 # in the environment: HUB_LIMITS__TIMEOUT_MS=30000",
        "timeout_ms = 30000",
        "```",
        "",
        "What cannot be used is refused at start, all of it at once, one line each: the key, what was expected, what came, and where from.",
        "",
        "```text",
        "port: expected a valid integer, unable to parse string as an integer, got 'x' (from the environment variable HUB_PORT)",
        "HUB_PROT: no such setting (from the environment); did you mean HUB_PORT?",
        "```",
    ]
    for name, summary, section in sections(model):
        lines += ["", f"## {f'`[{name}]`' if name else 'Top level'}", "", summary, ""]
        lines += ["| key | environment | type | default | meaning |", "|---|---|---|---|---|"]
        for key, field in section.model_fields.items():
            if _section(field) is not None:  # it has a table of its own
                continue
            variable = ENV_PREFIX + ENV_DELIMITER.join([*(name.split(".") if name else ()), key]).upper()
            meaning = (field.description or "").replace("|", "\\|")
            lines.append(f"| `{key}` | `{variable}` | {_type(field.annotation)} | {_default(field)} | {meaning} |")
        for key, field in section.model_fields.items():
            if (entry := _entry(field)) is not None:
                lines += _entries(f"{name}.{key}" if name else key, entry)
    return "\n".join(lines) + "\n"


def _entry(field: FieldInfo) -> type[BaseModel] | None:
    """The model of the entries of a list of tables; None for any other setting."""
    parts = [part for part in get_args(field.annotation) if isinstance(part, type) and issubclass(part, BaseModel)]
    return parts[0] if parts and get_origin(field.annotation) in (tuple, list) else None


def _entries(name: str, entry: type[BaseModel]) -> Iterator[str]:
    """The reference of what an entry of a list of tables has."""
    summary = (entry.__doc__ or "").strip().replace("``", "`")
    yield from ("", f"### `[[{name}]]`", "", summary, "", "| key | type | default | meaning |", "|---|---|---|---|")
    for key, field in entry.model_fields.items():
        meaning = (field.description or "").replace("|", "\\|")
        yield f"| `{key}` | {_type(field.annotation)} | {_default(field)} | {meaning} |"


def _type(annotation: Any) -> str:
    """A type in words of TOML."""
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    parts = [part for part in get_args(annotation) if part not in (type(None), Ellipsis)]
    if parts and get_origin(annotation) not in (tuple, list, dict):
        return " or ".join(dict.fromkeys(_type(part) for part in parts))
    plain = get_origin(annotation) or annotation
    names = {bool: "boolean", int: "integer", float: "number", tuple: "list", list: "list", dict: "table"}
    return names.get(plain, "text")


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return "required"
    return "" if value is None else f"`{_toml(value)}`"


def render(settings: Settings) -> str:
    """The current settings as TOML, with secrets and passwords hidden. Settings without a value are left out."""
    lines: list[str] = []
    for name, _, section in sections(type(settings)):
        if name:
            lines += ["", f"[{name}]"]
        values: Any = settings
        for step in name.split(".") if name else ():
            values = getattr(values, step)
        for key, field in section.model_fields.items():
            value = getattr(values, key)
            if _section(field) is None and value is not None:
                lines.append(f"{key} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, SecretStr):
        return json.dumps(HIDDEN)
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, tuple | list | set | frozenset):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, BaseModel):
        return _toml({key: inner for key, inner in value if inner is not None})
    if isinstance(value, Mapping):
        shown = {key: HIDDEN if isinstance(inner, str) and _KEY.search(str(key)) else inner for key, inner in value.items()}
        return f"{{ {', '.join(f'{json.dumps(str(key))} = {_toml(inner)}' for key, inner in shown.items())} }}"
    text = mask(str(value))
    return json.dumps(url_without_secrets(text) if _WITH_QUERY.match(text) else text, ensure_ascii=False)
