"""Tokens: what they say, and that nothing else is taken for one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest

from channels.files.participants.tokens import CONNECTION_S, MAX_LENGTH, SOCKET_S, InvalidTokenError, Purpose, Tokens
from tests.support.rest import Clock

SECRET = b"0123456789abcdef0123456789abcdef"
WHO = {"tenant": "acme", "contact": "c1", "participant": "p1", "role": "CUSTOMER"}


def part(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def signed(content: bytes, secret: bytes = SECRET) -> str:
    """A token as the rule has it, made without the hub's code."""
    key = hmac.new(secret, b"participant tokens v1", hashlib.sha256).digest()
    return f"{part(content)}.{part(hmac.new(key, content, hashlib.sha256).digest())}"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(clock: Clock) -> Tokens:
    return Tokens(SECRET, clock)


def test_what_a_token_says(tokens: Tokens, clock: Clock) -> None:
    text, ends_ms = tokens.make(Purpose.CONNECTION, **WHO)
    content = text.partition(".")[0]
    said = json.loads(base64.urlsafe_b64decode(content + "=" * (-len(content) % 4)))
    assert said == {"v": 1, "t": "acme", "c": "c1", "p": "p1", "r": "CUSTOMER", "k": "c", "exp": ends_ms}
    assert ends_ms == clock.wall_ms() + CONNECTION_S * 1000
    assert text == signed(json.dumps(said, separators=(",", ":")).encode())
    assert tokens.read(text, Purpose.CONNECTION).p == "p1"


def test_a_participant_token_ends_with_the_participant(tokens: Tokens, clock: Clock) -> None:
    text, ends_ms = tokens.make(Purpose.PARTICIPANT, **WHO)
    assert ends_ms is None
    clock.now_ms += 10 * 365 * 86_400_000
    assert tokens.read(text, Purpose.PARTICIPANT).c == "c1"


@pytest.mark.parametrize(("purpose", "lasts_s"), [(Purpose.CONNECTION, CONNECTION_S), (Purpose.SOCKET, SOCKET_S)])
def test_a_token_ends_to_the_millisecond(tokens: Tokens, clock: Clock, purpose: Purpose, lasts_s: int) -> None:
    text, _ = tokens.make(purpose, **WHO)
    clock.now_ms += lasts_s * 1000 - 1
    tokens.read(text, purpose)
    clock.now_ms += 1
    with pytest.raises(InvalidTokenError, match="is over"):
        tokens.read(text, purpose)


@pytest.mark.parametrize("made", list(Purpose))
@pytest.mark.parametrize("shown", list(Purpose))
def test_a_token_is_good_for_its_purpose_alone(tokens: Tokens, made: Purpose, shown: Purpose) -> None:
    text, _ = tokens.make(made, **WHO)
    if made is shown:
        tokens.read(text, shown)
        return
    with pytest.raises(InvalidTokenError, match="got another token"):
        tokens.read(text, shown)


def test_every_changed_character_is_noticed(tokens: Tokens) -> None:
    text, _ = tokens.make(Purpose.CONNECTION, **WHO)
    for at, character in enumerate(text):
        changed = text[:at] + ("A" if character != "A" else "B") + text[at + 1 :]
        with pytest.raises(InvalidTokenError):
            tokens.read(changed, Purpose.CONNECTION)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "x",
        "a.b.c",
        "é.é",
        "A" * (MAX_LENGTH + 1),
        signed(b"{}"),
        signed(b"[]"),
        signed(b"\xff"),
        signed(b'{"v":2,"t":"acme","c":"c1","p":"p1","r":"CUSTOMER","k":"c"}'),
        signed(b'{"v":1,"t":"acme","c":"c1","p":"p1","r":"CUSTOMER","k":"x"}'),
        signed(b'{"v":1,"t":"acme","c":"c1","p":"p1","r":"CUSTOMER","k":"c"}', b"another secret"),
        signed(b'{"v":1,"t":"acme","c":"c1","p":"p1","r":"CUSTOMER","k":"c"}') + "=",
    ],
)
def test_what_is_no_token(tokens: Tokens, text: str) -> None:
    with pytest.raises(InvalidTokenError):
        tokens.read(text, Purpose.CONNECTION)


def test_the_longest_token_is_within_the_bound(tokens: Tokens) -> None:
    text, _ = tokens.make(Purpose.CONNECTION, tenant="t" * 64, contact="世" * 73, participant="p" * 36, role="SUPERVISOR")
    assert len(text) <= MAX_LENGTH
    tokens.read(text, Purpose.CONNECTION)
