"""What a statistic is: the ``definition`` of the Statistics API, read and checked.

The scope is Stat Server's (its terms are kept): anything outside it is refused with the field, what would be accepted, and what came.
Unknown keys are ignored, and ``null`` is the same as leaving a key out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from channels.statistics.engine.profiles import DAILY, TimeProfile
from channels.statistics.engine.vocabulary import AGENT_ACTIONS, AGENT_STATUSES, AREA_ACTIONS, QUEUE_ACTIONS, MaskError, parse_mask


class DefinitionError(ValueError):
    """A statistic that cannot be opened. ``field`` is the key at fault, ``message`` says what was expected and what came."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class ObjectType(StrEnum):
    """What a statistic can be about. A queue and a route point of the same id are one object; a staging area is a medium."""

    AGENT = "Agent"
    GROUP_AGENTS = "GroupAgents"
    QUEUE = "Queue"
    ROUTE_POINT = "RoutePoint"
    GROUP_QUEUES = "GroupQueues"
    STAGING_AREA = "StagingArea"


class Category(StrEnum):
    """How the value is made from what the masks select."""

    CURRENT_STATE = "CurrentState"
    CURRENT_TIME = "CurrentTime"
    CURRENT_NUMBER = "CurrentNumber"
    CURRENT_MAX_TIME = "CurrentMaxTime"
    TOTAL_NUMBER = "TotalNumber"
    TOTAL_TIME = "TotalTime"
    TOTAL_ADJUSTED_TIME = "TotalAdjustedTime"
    AVERAGE_TIME = "AverageTime"
    TOTAL_NUMBER_IN_TIME_RANGE = "TotalNumberInTimeRange"
    RELATIVE_NUMBER_PERCENTAGE = "RelativeNumberPercentage"


class Subject(StrEnum):
    """What the masks speak of."""

    AGENT_STATUS = "AgentStatus"
    DN_STATUS = "DNStatus"
    DN_ACTION = "DNAction"
    GROUP_STATUS = "GroupStatus"


class NotificationMode(StrEnum):
    """When a subscriber hears of the value."""

    IMMEDIATE = "Immediate"
    PERIODICAL = "Periodical"


STATUS = "status"
"""A kind of interval: the status of an agent as a whole."""

DN_STATUS = "dn"
"""A kind of interval: the status of an agent on one medium."""

ACTION = "action"
"""A kind of interval, or of moment: an action."""

WITHOUT_WINDOW = frozenset((Category.CURRENT_STATE, Category.CURRENT_TIME, Category.CURRENT_NUMBER, Category.CURRENT_MAX_TIME))
"""Categories that look at this moment alone."""

IN_TIME_RANGE = frozenset((Category.TOTAL_NUMBER_IN_TIME_RANGE, Category.RELATIVE_NUMBER_PERCENTAGE))
"""Categories that take a timeRange."""

WITH_REL_MASK = frozenset((Category.AVERAGE_TIME, Category.RELATIVE_NUMBER_PERCENTAGE))

_AGENTS = (ObjectType.AGENT, ObjectType.GROUP_AGENTS)
_SUBJECTS = {
    ObjectType.AGENT: (Subject.AGENT_STATUS, Subject.DN_STATUS, Subject.DN_ACTION),
    ObjectType.GROUP_AGENTS: (Subject.AGENT_STATUS, Subject.DN_STATUS, Subject.DN_ACTION, Subject.GROUP_STATUS),
    ObjectType.QUEUE: (Subject.DN_ACTION,),
    ObjectType.ROUTE_POINT: (Subject.DN_ACTION,),
    ObjectType.GROUP_QUEUES: (Subject.DN_ACTION,),
    ObjectType.STAGING_AREA: (Subject.DN_ACTION,),
}

DEFAULT_TIME_RANGE = (0, 20)
"""Stat Server's, in seconds."""

DEFAULT_FREQUENCY_S = 10
DEFAULT_INSENSITIVITY = 1


@dataclass(frozen=True, slots=True)
class Definition:
    """What is computed. Two texts that mean the same give equal definitions, so that they share one :class:`Statistic`."""

    category: Category
    subject: Subject
    main_mask: frozenset[str]
    rel_mask: frozenset[str] | None = None
    profile: TimeProfile = DAILY
    """When the growing window is reset; always ``DAILY`` for categories that have no window."""
    time_range: tuple[int, int] | None = None
    """Whole seconds, the second one excluded; only for categories that take it."""
    media: frozenset[str] | None = None
    """The media that count, in lower case; None is all of them."""

    @property
    def kind(self) -> str:
        """Which intervals are looked at: ``STATUS``, ``DN_STATUS`` or ``ACTION``.

        An agent's status, filtered by media, is its status on each of them.
        """
        if self.subject is Subject.DN_ACTION:
            return ACTION
        if self.subject is Subject.DN_STATUS or self.media is not None:
            return DN_STATUS
        return STATUS


@dataclass(frozen=True, slots=True)
class Notification:
    """When the value is sent. Not part of the definition: two that differ in this alone are one statistic."""

    mode: NotificationMode
    frequency_s: int = DEFAULT_FREQUENCY_S
    """Seconds between two looks, for Periodical."""
    insensitivity: int = DEFAULT_INSENSITIVITY
    """See :meth:`Value.changed_from <channels.statistics.engine.values.Value.changed_from>`."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A definition as it was asked for: what, and how it is notified."""

    definition: Definition
    notification: Notification


def _shown(value: object) -> str:
    """What came, short enough for a message."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _choice(field: str, raw: object, accepted: tuple[str, ...]) -> str:
    if not isinstance(raw, str) or raw not in accepted:
        raise DefinitionError(
            field, f"expected {accepted[0] if len(accepted) == 1 else 'one of ' + ', '.join(accepted)}; got {_shown(raw)}"
        )
    return raw


def _text(field: str, raw: object) -> str:
    if not isinstance(raw, str):
        raise DefinitionError(field, f"expected a text; got {_shown(raw)}")
    return raw


def _integer(field: str, raw: object, least: int, what: str) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int) or not least <= raw < 2**31:
        raise DefinitionError(field, f"expected {what}, a whole number from {least} to {2**31 - 1}; got {_shown(raw)}")
    return raw


def parse_object_type(raw: object) -> ObjectType:
    """Read an ``objectType``.

    Raises:
        DefinitionError: it is not one of :class:`ObjectType`.
    """
    return ObjectType(_choice("objectType", raw, tuple(ObjectType)))


def parse_definition(raw: object, object_type: ObjectType) -> Opened:
    """Read a ``definition`` of the Statistics API for an object of a type.

    Raises:
        DefinitionError: a field is missing, has the wrong type, or asks for what is not offered.
    """
    if not isinstance(raw, dict):
        raise DefinitionError("definition", f"expected an object; got {_shown(raw)}")
    given: dict[str, object] = {key: value for key, value in raw.items() if value is not None}
    for field in ("category", "subject"):
        if field not in given:
            raise DefinitionError(field, "expected a value; the field is missing")
    category = _category(given["category"], object_type)
    subject = _subject(given["subject"], category, object_type)
    _choice("maskType", given.get("maskType", "DN"), ("DN",))
    _choice("intervalType", given.get("intervalType", "GrowingWindow"), ("GrowingWindow",))
    if "filter" in given:
        raise DefinitionError(
            "filter",
            f"no filters have names here; write the filter itself as dynamicFilter, such as Media=voice; got {_shown(given['filter'])}",
        )
    profile = _profile(given)
    time_range = _time_range(given.get("timeRange"))
    definition = Definition(
        category=category,
        subject=subject,
        main_mask=_mask("mainMask", given.get("mainMask", "*" if category is Category.CURRENT_STATE else None), subject, object_type),
        rel_mask=_rel_mask(given, category, subject, object_type),
        profile=DAILY if category in WITHOUT_WINDOW else profile,
        time_range=time_range if category in IN_TIME_RANGE else None,
        media=_media(given.get("dynamicFilter", "")),
    )
    return Opened(definition, _notification(given, category))


def _category(raw: object, object_type: ObjectType) -> Category:
    category = Category(_choice("category", raw, tuple(Category)))
    if category is Category.CURRENT_STATE and object_type not in _AGENTS:
        accepted = ", ".join(c for c in Category if c is not Category.CURRENT_STATE)
        raise DefinitionError(
            "category", f"expected one of {accepted} for a {object_type.value}; got {_shown(raw)}, which is for Agent and GroupAgents"
        )
    return category


def _subject(raw: object, category: Category, object_type: ObjectType) -> Subject:
    fitting = _SUBJECTS[object_type]
    name = Subject.DN_ACTION.value if raw == "Action" else raw
    if not isinstance(name, str) or name not in tuple(fitting):
        raise DefinitionError(
            "subject", f"expected one of {', '.join(s.value for s in fitting)} for a {object_type.value}; got {_shown(raw)}"
        )
    subject = Subject(name)
    if subject is Subject.GROUP_STATUS and category is not Category.CURRENT_STATE:
        raise DefinitionError(
            "subject", f"expected AgentStatus, DNStatus or DNAction for {category.value}; got 'GroupStatus', which is for CurrentState"
        )
    return subject


def _mask(field: str, raw: object, subject: Subject, object_type: ObjectType) -> frozenset[str]:
    if raw is None:
        raise DefinitionError(field, "expected a mask such as *,~LoggedOut; the field is missing")
    if object_type is ObjectType.STAGING_AREA:
        vocabulary = AREA_ACTIONS
    elif object_type not in _AGENTS:
        vocabulary = QUEUE_ACTIONS
    else:
        vocabulary = AGENT_ACTIONS if subject is Subject.DN_ACTION else AGENT_STATUSES
    try:
        return parse_mask(_text(field, raw), vocabulary)
    except MaskError as error:
        raise DefinitionError(field, str(error)) from None


def _rel_mask(given: dict[str, object], category: Category, subject: Subject, object_type: ObjectType) -> frozenset[str] | None:
    raw = given.get("relMask")
    if raw is None or raw == "":
        if category is Category.RELATIVE_NUMBER_PERCENTAGE:
            raise DefinitionError("relMask", f"expected a mask: {category.value} is a share of what relMask selects; the field is missing")
        return None
    mask = _mask("relMask", raw, subject, object_type)
    return mask if category in WITH_REL_MASK else None


def _profile(given: dict[str, object]) -> TimeProfile:
    name = _choice("timeProfile", given.get("timeProfile", "Default"), ("Default",))
    raw = given.get("dynamicTimeProfile", "")
    if raw == "":
        assert name == "Default"
        return DAILY
    try:
        return TimeProfile.parse(_text("dynamicTimeProfile", raw))
    except DefinitionError:
        raise
    except ValueError as error:
        raise DefinitionError("dynamicTimeProfile", str(error)) from None


_RANGE = re.compile(r"\s*(\d{1,9})\s*-\s*(\d{1,9})\s*")


def _time_range(raw: object) -> tuple[int, int]:
    if raw is None or raw == "":
        return DEFAULT_TIME_RANGE
    match = _RANGE.fullmatch(_text("timeRange", raw))
    if match is None or int(match[1]) >= int(match[2]):
        raise DefinitionError(
            "timeRange", f"expected two whole numbers of seconds, the first below the second, such as 0-20; got {_shown(raw)}"
        )
    return int(match[1]), int(match[2])


_MEDIUM = re.compile(r'(?:(media|mediatype)\s*=\s*)?("?)([a-z][a-z0-9_-]*)\2', re.IGNORECASE)


def _media(raw: object) -> frozenset[str] | None:
    """``Media=voice``, ``MediaType=chat|email``, ``Media=chat|Media=email``; an empty text is no filter."""
    text = _text("dynamicFilter", raw).strip()
    if not text:
        return None
    media = set()
    for number, part in enumerate(text.split("|")):
        match = _MEDIUM.fullmatch(part.strip())
        if match is None or (number == 0 and match[1] is None):
            raise DefinitionError("dynamicFilter", f"expected media, such as Media=voice or Media=chat|email; got {_shown(raw)}")
        media.add(match[3].lower())
    return frozenset(media)


def _notification(given: dict[str, object], category: Category) -> Notification:
    default = NotificationMode.IMMEDIATE if category is Category.CURRENT_STATE else NotificationMode.PERIODICAL
    mode = _choice("notificationMode", given.get("notificationMode", default.value), tuple(NotificationMode))
    return Notification(
        mode=NotificationMode(mode),
        frequency_s=_integer("notificationFrequency", given.get("notificationFrequency", DEFAULT_FREQUENCY_S), 1, "seconds"),
        insensitivity=_integer("insensitivity", given.get("insensitivity", DEFAULT_INSENSITIVITY), 0, "the least change that is sent"),
    )
