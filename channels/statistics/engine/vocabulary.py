"""The names that masks are made of: statuses with their priority, actions of agents, queues and staging areas (Stat Server's terms).

A *durable* action lasts; an *instantaneous* one happens at one moment, some of them (the retrospective ones) with a duration:
that of ``CallAnswered`` is the time that the caller waited. A *status* is the durable action of the highest priority at a time.

Some names below never occur here, because no event of the hub's vocabulary yields them (``OffHook``, ``Monitored``, ``CallConferenceMade``
and others). They are accepted in masks all the same: definitions written for Stat Server name them. ``CustomerCallHandled`` and
``CustomerCallWrapped`` are the hub's own: what the handling time of docs/statistics.md is made of.
"""

STATUS_CODES: dict[str, int] = {
    "NotMonitored": 0,
    "Monitored": 1,
    "LoggedIn": 2,
    "OnHook": 3,
    "WaitForNextCall": 4,
    "OffHook": 5,
    "CallDialing": 6,
    "CallRinging": 7,
    "NotReadyForNextCall": 8,
    "AfterCallWork": 9,
    "CallOnHold": 13,
    "ASM_Engaged": 16,
    "ASM_Outbound": 17,
    "CallUnknown": 18,
    "CallConsult": 19,
    "CallInternal": 20,
    "CallOutbound": 21,
    "CallInbound": 22,
    "LoggedOut": 23,
}
"""Statuses with Stat Server's numeric codes; the order of the codes is the order of priority."""

STATUS_NAMES: dict[int, str] = {code: name for name, code in STATUS_CODES.items()}

LOGGED_IN = "LoggedIn"
LOGGED_OUT = "LoggedOut"
WAIT_FOR_NEXT_CALL = "WaitForNextCall"
NOT_READY = "NotReadyForNextCall"
AFTER_CALL_WORK = "AfterCallWork"
CALL_DIALING = "CallDialing"
CALL_RINGING = "CallRinging"
CALL_ON_HOLD = "CallOnHold"
CALL_UNKNOWN = "CallUnknown"
CALL_WAIT = "CallWait"
INTERACTION_WAIT = "InteractionWait"

CALLS: dict[str, str] = {
    "inbound": "CallInbound",
    "outbound": "CallOutbound",
    "internal": "CallInternal",
    "consult": "CallConsult",
}
"""The action that a ``callType`` of an event stands for."""

CALL_ACTIONS = frozenset((*CALLS.values(), CALL_UNKNOWN))

CUSTOMER_CALLS = frozenset(("CallInbound", "CallOutbound", CALL_UNKNOWN))
"""Calls with customers, as far as is known; the others are within the house."""

CALL_CONSULT = CALLS["consult"]
HANDLED = "CustomerCallHandled"
WRAPPED = "CustomerCallWrapped"

AGENT_STATE_ACTIONS = frozenset((LOGGED_IN, LOGGED_OUT, WAIT_FOR_NEXT_CALL, NOT_READY, AFTER_CALL_WORK))
"""Durable actions that belong to no interaction. One that lasts no time at all leaves no trace: two events at one moment made it."""

_AGENT_INSTANTS = (
    *(f"{call}{what}" for call in sorted(CALL_ACTIONS) for what in ("Started", "Completed")),
    "AgentLogin",
    "AgentLogout",
    "CallRingingStarted",
    "CallDialingStarted",
    "CallDialed",
    "CallHeld",
    "CallRetrievedFromHold",
    "CallTransferMade",
    "CallTransferTaken",
    "CallConferenceMade",
    "CallConferenceJoined",
    "CallReleased",
    "CallMissed",
    "CallForwarded",
    "CallAbandonedFromRinging",
    "CallAbandonedFromDialing",
    "CallAbandonedFromHold",
    HANDLED,
    WRAPPED,
)

AGENT_STATUSES = frozenset(STATUS_CODES)
"""What a mask over AgentStatus or DNStatus may name."""

AGENT_ACTIONS = frozenset((*STATUS_CODES, *_AGENT_INSTANTS))
"""What a mask over DNAction may name for an agent or a group of agents."""

QUEUE_ACTIONS = frozenset(
    (
        CALL_WAIT,
        "CallEntered",
        "CallDistributed",
        "CallDistributedToQueue",
        "CallAbandoned",
        "CallCleared",
        "CallAnswered",
        "CallMissed",
        "CallForwarded",
        "CallReleased",
        "CallAbandonedFromRinging",
        "ACWCompleted",
        "ACWMissed",
    )
)
"""What a mask over DNAction may name for a queue, a route point or a group of queues."""


AREA_ACTIONS = frozenset(
    (
        INTERACTION_WAIT,
        "InteractionEntered",
        "InteractionDistributed",
        "InteractionDistributedToQueue",
        "InteractionCleared",
        "InteractionDeleted",
    )
)
"""What a mask over DNAction may name for a staging area."""


class MaskError(ValueError):
    """A mask that cannot be read; the text says what was expected and what came."""


def parse_mask(text: str, vocabulary: frozenset[str]) -> frozenset[str]:
    """The names that a mask selects: ``*`` is all of them, ``~X`` takes X away, whatever the order.

    Raises:
        MaskError: a name is not in the vocabulary, or nothing is selected.
    """
    chosen: set[str] = set()
    removed: set[str] = set()
    for part in text.split(","):
        item = part.strip()
        if item == "*":
            chosen |= vocabulary
            continue
        name = item.removeprefix("~").strip()
        if name not in vocabulary:
            raise MaskError(
                f"expected *, or names of {', '.join(sorted(vocabulary))}, each with ~ before it to leave it out; got {item[:100]!r}"
            )
        (removed if item.startswith("~") else chosen).add(name)
    mask = frozenset(chosen - removed)
    if not mask:
        raise MaskError(f"expected a mask that selects something, such as *,~LoggedOut; got {text[:200]!r}, which selects nothing")
    return mask
