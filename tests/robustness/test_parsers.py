"""The parsers of what clients send, against Python's own JSON reader: they take and refuse the same, and raise what they say alone."""

from __future__ import annotations

import contextlib
import json
import random
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from hub.bayeux.messages import BatchTooLargeError, EmptyRequestError, Incoming, MalformedError, read_request
from hub.bayeux.replies import head, success
from hub.core.field_error import FieldError
from hub.core.json_validation import BadJsonError
from hub.core.limits import Limits
from hub.core.message import Message
from hub.dashboard import commands
from hub.dashboard.commands import Command, TooManyError, read_commands
from tests.robustness.campaign import SHORT, long_form, rounds, seconds
from tests.robustness.mutator import JSON_TOKENS, Mutator

LIMITS = Limits(max_json_depth=12, max_batch=5, max_message_bytes=200)
SHORT_ROUNDS = 6000

BAYEUX_SEEDS = [
    b'[{"id":"1","channel":"/meta/handshake","version":"1.0","supportedConnectionTypes":["websocket"],"ext":{"ack":true}}]',
    b'[{"id":2,"channel":"/meta/connect","clientId":"abc","advice":{"timeout":0},"ext":{"ack":7,"timesync":{"tc":1,"l":2,"o":-3}}}]',
    b'{"channel":"/meta/subscribe","clientId":"abc","subscription":["/a","/b/**"],"ext":{"replay":{"/a":-2}}}',
    b'[{"channel":"/a","clientId":"abc","data":{"text":"\\ud83d\\ude00 \\u00e9","n":[1,2.5e-3,true,null]}},{"channel":"/b","data":""}]',
    '[{"channel":"/\u00e9","data":"\u2028\U0001f600","extra":{"k":[[]]},"ext":{"authentication":{"token":"t"},"x":1}}]'.encode(),
    b"[]",
    b"[" + b",".join([b"{}"] * 6) + b"]",
    b'[{"channel":"/a","data":"' + b"x" * 300 + b'"},{"id":1e400}]',
]
DASHBOARD_SEEDS = [
    b'{"type":"hello","token":"t"}',
    b'[{"type":"subscribe","id":1,"channels":["/a","/b/**"],"since":1234567890123456},{"type":"ping","id":"x"}]',
    b'{"type":"unsubscribe","id":-1.5e3,"channels":["/a","/a"]}',
    '{"type":"subscribe","id":"\u00e9","channels":["/\u2028"]}'.encode(),
    b'[{"type":"ping","id":null},{},[]]',
    b'{"type":"ping","id":"' + b"x" * 300 + b'"}',
]

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
names = st.sampled_from(["id", "channel", "clientId", "data", "ext", "advice", "subscription", "type", "channels", "since", "token", "x"])
requests = st.one_of(values, st.dictionaries(names, values), st.lists(st.dictionaries(names, values), max_size=7))


def reference(payload: bytes, *, finite: bool) -> Any:
    """The value of a payload as Python reads it, with what RFC 8259 demands beyond; raises ValueError. ``finite``: every number must be one
    that a double can hold.
    """
    text = payload.decode()
    if text.startswith("\ufeff"):
        raise ValueError("byte order mark")
    if _depth(text) > LIMITS.max_json_depth:
        raise ValueError("too deep")

    def number(digits: str) -> float:
        value = float(digits)
        if finite and value in {float("inf"), float("-inf")}:
            raise ValueError("infinite")
        return value

    def constant(name: str) -> float:
        raise ValueError(name)

    return json.loads(text, parse_float=number, parse_int=number, parse_constant=constant)


def _depth(text: str) -> int:
    deepest = depth = 0
    inside = escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif inside:
            escaped = character == "\\"
            inside = character != '"'
        elif character == '"':
            inside = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def expected_of(payload: bytes, *, finite: bool) -> str:
    """What must become of a payload: the number of its messages, or why it is refused."""
    try:
        value = reference(payload, finite=finite)
    except (ValueError, RecursionError):
        return "malformed"
    if isinstance(value, dict):
        return "1"
    if not isinstance(value, list):
        return "malformed"
    if len(value) > LIMITS.max_batch:
        return "too many or malformed"
    return str(len(value)) if all(isinstance(message, dict) for message in value) else "malformed"


def agree(found: str, expected: str) -> bool:
    """Whether a parser did as it must. Which of two faults is found first is its own affair."""
    return found in {"too many", "malformed"} if expected == "too many or malformed" else found == expected


def check_bayeux(payload: bytes) -> None:
    """Read a request, look at every member, and see that the parser agrees with the reference."""
    try:
        messages = read_request(payload, LIMITS)
        found = str(len(messages))
    except EmptyRequestError:
        messages, found = [], "0"
    except MalformedError:
        messages, found = [], "malformed"
    except BatchTooLargeError:
        messages, found = [], "too many"
    assert agree(found, expected_of(payload, finite=False)), f"{payload!r}: {found}"
    for message in messages:
        _look_at(message)


def _look_at(message: Incoming) -> None:
    looks = [
        message.check_common,
        message.timeout_ms,
        message.acknowledged,
        message.wants_acknowledgement,
        message.authentication,
        message.subscriptions,
        lambda: message.text("connectionType"),
        lambda: message.texts("supportedConnectionTypes"),
    ]
    for look in looks:
        with contextlib.suppress(FieldError):
            look()
    reply = json.loads(success(head(message)), parse_int=float)
    assert reply["successful"] is True
    try:
        extra = message.extra()
    except FieldError:
        return
    if (data := message.fields.get("data")) is not None and message.channel_text is not None:
        sent = Message("/a", bytes(data), extra=extra).bayeux()
        assert sent.isascii()
        assert json.loads(sent, parse_int=float)["channel"] == "/a"


def check_dashboard(payload: bytes) -> None:
    """As :func:`check_bayeux`, of a dashboard's frame."""
    try:
        found_commands = read_commands(payload, LIMITS)
        found = str(len(found_commands))
    except BadJsonError:
        found_commands, found = [], "malformed"
    except TooManyError:
        found_commands, found = [], "too many"
    assert agree(found, expected_of(payload, finite=True)), f"{payload!r}: {found}"
    for command in found_commands:
        _look_at_command(command)


def _look_at_command(command: Command) -> None:
    for look in (
        command.identifier,
        lambda: command.text("type"),
        lambda: command.position("since"),
        lambda: command.texts("channels"),
        lambda: command.shown("id"),
    ):
        with contextlib.suppress(commands.CommandError):
            look()


@SHORT
@given(st.one_of(st.binary(max_size=60), requests.map(lambda value: json.dumps(value).encode(errors="surrogatepass"))))
@example(b'[{"channel":"/a","data":1e999}]')
@example(b'{"id":' + b"9" * 5000 + b"}")
def test_random_requests(payload: bytes) -> None:
    check_bayeux(payload)
    check_dashboard(payload)


def mutations(chance: random.Random, count: int) -> None:
    """Many requests that are nearly right."""
    mutator = Mutator(chance, JSON_TOKENS)
    for _ in range(count):
        check_bayeux(mutator.mutate(chance.choice(BAYEUX_SEEDS)))
        check_dashboard(mutator.mutate(chance.choice(DASHBOARD_SEEDS)))


def test_mutated_requests() -> None:
    mutations(random.Random(6455), SHORT_ROUNDS)


@long_form
def test_mutated_requests_for_long() -> None:
    for chance in rounds(seconds()):
        mutations(chance, SHORT_ROUNDS)
