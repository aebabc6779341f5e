"""What travels between nodes: it comes back as it was sent, and what is no envelope is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.bus.interface import Envelope, EnvelopeError
from hub.core.delivery import DeliveryClass
from hub.core.message import Topic

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    st.builds(
        Envelope,
        topic=st.builds(Topic, _TEXTS, _TEXTS, _TEXTS),
        delivery=st.sampled_from(DeliveryClass),
        data=st.binary(max_size=50),
        extra=st.binary(max_size=50),
        position=st.none() | st.integers(0, 2**53 - 1),
        previous=st.none() | st.integers(0, 2**53 - 1),
        origin=_TEXTS,
        sequence=st.integers(0, 2**53 - 1),
    )
)
def test_round_trip(envelope: Envelope) -> None:
    assert Envelope.decode(envelope.encode()) == envelope


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"x",
        b"{}\n",
        b"[]\n",
        b"null\n",
        b'{"v":1}\n',
        Envelope(Topic("t", "", "/a"), DeliveryClass.EVENT, b"1").encode().replace(b'"v":1', b'"v":2'),
        Envelope(Topic("t", "", "/a"), DeliveryClass.EVENT, b"1").encode().replace(b'"event"', b'"other"'),
        Envelope(Topic("t", "", "/a"), DeliveryClass.EVENT, b"1").encode().replace(b'["t","","/a"]', b'["t"]'),
        Envelope(Topic("t", "", "/a"), DeliveryClass.EVENT, b"").encode().rstrip(b"\n"),
    ],
)
def test_no_envelope(raw: bytes) -> None:
    with pytest.raises(EnvelopeError):
        Envelope.decode(raw)
