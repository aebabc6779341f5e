"""The statistics engine: pure, no event loop, no I/O, no clock. See ``docs/statistics.md`` for what it counts."""

from channels.statistics.engine.bounds import Bounds, Lifetimes
from channels.statistics.engine.definition import (
    Category,
    Definition,
    DefinitionError,
    Notification,
    NotificationMode,
    ObjectType,
    Opened,
    Subject,
    parse_definition,
    parse_object_type,
)
from channels.statistics.engine.engine import Engine
from channels.statistics.engine.library import Predefined, names, predefined
from channels.statistics.engine.snapshot import SnapshotError
from channels.statistics.engine.statistic import Statistic
from channels.statistics.engine.values import Value

__all__ = [
    "Bounds",
    "Category",
    "Definition",
    "DefinitionError",
    "Engine",
    "Lifetimes",
    "Notification",
    "NotificationMode",
    "ObjectType",
    "Opened",
    "Predefined",
    "SnapshotError",
    "Statistic",
    "Subject",
    "Value",
    "names",
    "parse_definition",
    "parse_object_type",
    "predefined",
]
