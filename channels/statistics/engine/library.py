"""The predefined statistics: names for definitions, read from ``library.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from channels.statistics.engine.definition import DefinitionError, ObjectType, Opened, parse_definition

_KEYS = (
    "category",
    "subject",
    "mainMask",
    "relMask",
    "timeRange",
    "dynamicTimeProfile",
    "dynamicFilter",
    "notificationMode",
    "notificationFrequency",
    "insensitivity",
)


@dataclass(frozen=True, slots=True)
class Predefined:
    """One name: what it stands for, in words and as a definition."""

    name: str
    objects: tuple[ObjectType, ...]
    sentence: str
    examples: tuple[str, ...]
    """Timelines in words, with the figure that each gives; seconds."""
    raw: dict[str, object]
    """The definition as a client could send it."""
    opened: dict[ObjectType, Opened]

    @property
    def category(self) -> str:
        """The category's name."""
        return str(self.raw["category"])

    @property
    def subject(self) -> str:
        """The subject's name."""
        return str(self.raw["subject"])

    @property
    def main_mask(self) -> str:
        """The main mask as text."""
        return str(self.raw["mainMask"])

    @property
    def rel_mask(self) -> str | None:
        """The relative mask as text, if there is one."""
        mask = self.raw.get("relMask")
        return None if mask is None else str(mask)

    @property
    def notification(self) -> str:
        """When the value is sent, in words."""
        notification = next(iter(self.opened.values())).notification
        if notification.mode == "Immediate":
            return "Immediate"
        return f"Periodical, every {notification.frequency_s} s, insensitivity {notification.insensitivity}"


@cache
def _library() -> dict[str, Predefined]:
    source = tomllib.loads(files("channels.statistics").joinpath("library.toml").read_text(encoding="utf-8"))
    masks: dict[str, str] = source["masks"]
    library = {}
    for entry in source["statistic"]:
        raw = {key: entry[key].format_map(masks) if key in ("mainMask", "relMask") else entry[key] for key in _KEYS if key in entry}
        objects = tuple(ObjectType(name) for name in entry["objects"])
        opened = {object_type: parse_definition(raw, object_type) for object_type in objects}
        for name in entry["names"]:
            library[name] = Predefined(name, objects, entry["sentence"], tuple(entry.get("examples", ())), raw, opened)
    return library


def names() -> list[Predefined]:
    """Every predefined statistic, in the order of the library."""
    return list(_library().values())


def predefined(name: object, object_type: ObjectType) -> Opened:
    """What a name stands for, for an object of a type.

    Raises:
        DefinitionError: field ``name``: there is no such statistic for that object type; the text lists those that there are.
    """
    found = _library().get(name) if isinstance(name, str) else None
    opened = None if found is None else found.opened.get(object_type)
    if opened is None:
        known = ", ".join(sorted(p.name for p in names() if object_type in p.objects))
        raise DefinitionError("name", f"expected one of {known} for a {object_type.value}; got {repr(name)[:120]}")
    return opened
