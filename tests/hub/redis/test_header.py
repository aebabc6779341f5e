"""The header of a message: it comes back as it was sent, a later version may add to it, and what is no header is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.delivery import DeliveryClass
from hub.redis.header import Header, HeaderError

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_NUMBERS = st.integers(0, 2**53 - 1)


@given(st.builds(Header, _TEXTS, _TEXTS, st.sampled_from(DeliveryClass), _NUMBERS, _TEXTS, _NUMBERS, _NUMBERS, _NUMBERS))
def test_round_trip(header: Header) -> None:
    line = header.encode()
    assert b"\n" not in line
    assert Header.decode(line) == header


def test_a_later_version_may_add_members() -> None:
    header = Header("", "/a", DeliveryClass.EVENT, 0, "1f", 7)
    assert Header.decode(header.encode().replace(b"{", b'{"new":[1],', 1)) == header


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"x",
        b"{}",
        b"[]",
        b"null",
        b'{"t":["","/a"],"x":0,"o":"","s":1,"d":"other"}',
        b'{"t":["/a"],"x":0,"o":"","s":1,"d":"event"}',
        b'{"t":[1,2],"x":0,"o":"","s":1,"d":"event"}',
        b'{"t":["","/a"],"x":-1,"o":"","s":1,"d":"event"}',
        b'{"t":["","/a"],"x":0,"o":"","s":"1","d":"event"}',
        b'{"t":["","/a"],"x":0,"s":1,"d":"event"}',
    ],
)
def test_no_header(line: bytes) -> None:
    with pytest.raises(HeaderError):
        Header.decode(line)
