"""What travels through Redis between nodes of two versions: a reader of the first version, frozen here, reads what this one writes, and
this one reads what the first one wrote.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.bus.interface import Envelope, EnvelopeError
from hub.bus.redis.envelopes import VERSIONS, decode, header_of, login_bytes
from hub.cluster.ports import NodeRecord
from hub.core.delivery import DeliveryClass
from hub.core.message import Topic
from hub.core.principal import login_key

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_LOGINS = st.lists(st.binary(min_size=16, max_size=16).map(bytes.hex), max_size=3)
_ENVELOPES = st.builds(
    Envelope,
    topic=st.builds(Topic, st.just("t"), _TEXTS, _TEXTS),
    delivery=st.sampled_from(DeliveryClass),
    data=st.binary(max_size=50),
    extra=st.binary(max_size=50),
    position=st.integers(0, 2**53 - 1),
    previous=st.integers(0, 2**53 - 1),
    origin=_TEXTS,
    sequence=st.integers(0, 2**53 - 1),
    epoch=st.just(0),
)

OF_THE_FIRST_VERSION = {
    b'2e{"t":["","/a/b"],"x":9,"o":"0123456789ab","s":7,"d":"event"}\n,"ext":{}{"n":1.10}': (
        Envelope(Topic("t", "", "/a/b"), DeliveryClass.EVENT, b'{"n":1.10}', b',"ext":{}', None, None, "0123456789ab", 7),
        [],
        0,
    ),
    b'2l1764421234123000 1764421234122999 {"t":["ann","/log/a"],"x":0,"o":"0123456789ab","s":8,"d":"log","y":3}\n[\n1]': (
        Envelope(Topic("t", "ann", "/log/a"), DeliveryClass.LOG, b"[\n1]", b"", 1764421234123000, 1764421234122999, "0123456789ab", 8),
        [],
        3,
    ),
    b'2e{"t":["","/s"],"x":0,"o":"0123456789ab","s":9,"d":"state","g":2}\n' + bytes(range(32)) + b"1": (
        Envelope(Topic("t", "", "/s"), DeliveryClass.STATE, b"1", b"", None, None, "0123456789ab", 9),
        [bytes(range(16)).hex(), bytes(range(16, 32)).hex()],
        0,
    ),
}


def read_by_the_first_version(payload: bytes) -> dict[str, Any]:
    """Frozen: as the first nodes read an envelope. It is never changed; when it need not be read any more, it is removed."""
    assert payload[:1] == b"2"
    position = previous = None
    rest = payload[2:]
    if payload[1:2] == b"l":
        first, second, rest = rest.split(b" ", 2)
        position, previous = int(first), int(second)
    else:
        assert payload[1:2] == b"e"
    line, rest = rest.split(b"\n", 1)
    header = json.loads(line)
    logins = []
    for _ in range(header.get("g", 0)):
        logins.append(rest[:16].hex())
        rest = rest[16:]
    split = header["x"]
    return {
        "topic": header["t"],
        "delivery": header["d"],
        "extra": rest[:split],
        "data": rest[split:],
        "position": position,
        "previous": previous,
        "origin": header["o"],
        "sequence": header["s"],
        "epoch": header.get("y", 0),
        "logins": logins,
    }


def payload_of(envelope: Envelope, logins: list[str], epoch: int = 0, version: int = 2) -> bytes:
    """As the script writes it."""
    prelude = b"l%d %d " % (envelope.position, envelope.previous) if envelope.delivery is DeliveryClass.LOG else b"e"
    return (
        b"%d" % version
        + prelude
        + header_of(envelope, epoch=epoch, logins=len(logins))
        + b"\n"
        + bytes.fromhex("".join(logins))
        + envelope.extra
        + envelope.data
    )


@given(_ENVELOPES, _LOGINS, st.integers(0, 9), st.sampled_from(VERSIONS))
def test_what_is_written_is_read(envelope: Envelope, logins: list[str], epoch: int, version: int) -> None:
    if envelope.delivery is not DeliveryClass.LOG:
        envelope = envelope._replace(position=None, previous=None)
    assert decode("t", payload_of(envelope, logins, epoch, version)) == (envelope._replace(epoch=epoch), logins, False)


@given(_ENVELOPES, _LOGINS)
def test_the_first_version_reads_what_is_written(envelope: Envelope, logins: list[str]) -> None:
    of_log = envelope.delivery is DeliveryClass.LOG
    assert read_by_the_first_version(payload_of(envelope, logins)) == {
        "topic": [envelope.topic.audience, envelope.topic.channel],
        "delivery": envelope.delivery.value,
        "extra": envelope.extra,
        "data": envelope.data,
        "position": envelope.position if of_log else None,
        "previous": envelope.previous if of_log else None,
        "origin": envelope.origin,
        "sequence": envelope.sequence,
        "epoch": 0,
        "logins": logins,
    }


@pytest.mark.parametrize(("payload", "expected"), OF_THE_FIRST_VERSION.items())
def test_what_the_first_version_wrote_is_read(payload: bytes, expected: tuple[Envelope, list[str], int]) -> None:
    envelope, logins, epoch = expected
    assert decode("t", payload) == (envelope._replace(epoch=epoch), logins, False)


def test_a_notice_is_of_the_second_version() -> None:
    header = b'{"t":["",""],"x":0,"o":"a","s":7,"d":"state"}\n'
    received = decode("t", b"3n" + header)
    assert (received.notice, received.envelope.origin, received.envelope.sequence) == (True, "a", 7)
    with pytest.raises(EnvelopeError):
        decode("t", b"2n" + header)


def test_a_node_says_what_it_reads() -> None:
    assert NodeRecord(incarnation="a", version="1").envelopes == VERSIONS


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"2",
        b"2e",
        b"2x{}\n",
        b"3x{}\n",
        b"2e{}\n",
        b'4e{"t":["","/a"],"x":0,"o":"","s":1,"d":"event"}\n1',
        b'2e{"t":["","/a"],"x":0,"o":"","s":1,"d":"event"}',
        b'2l1 {"t":["","/a"],"x":0,"o":"","s":1,"d":"log"}\n1',
        b'2la b {"t":["","/a"],"x":0,"o":"","s":1,"d":"log"}\n1',
        b'2e{"t":["","/a"],"x":0,"o":"","s":1,"d":"event","g":2}\n' + bytes(31),
    ],
)
def test_no_envelope(payload: bytes) -> None:
    with pytest.raises(EnvelopeError):
        decode("t", payload)


@given(st.binary(max_size=80))
def test_any_bytes_are_an_envelope_or_refused(payload: bytes) -> None:
    try:
        decode("t", b"2" + payload)
    except EnvelopeError:
        pass


def test_a_login_is_sixteen_bytes() -> None:
    login = login_key("t", "ann", "token")
    assert login_bytes(login) == bytes.fromhex(login)
    assert login_bytes("ann") is None
    assert login_bytes(login.upper()) is None
    assert login_bytes(f"{login}00") is None
