"""How two nodes show each other that they know the secret: what is taken, and what gets nowhere."""

from __future__ import annotations

import msgspec
import pytest

from hub.cluster.link.frames import Frame, FrameType
from hub.cluster.link.hello import Handshake, HelloError, Me, Refusal, fingerprint

SECRET = b"a secret of sixteen characters"
A, B = "aaaaaaaaaaaa", "bbbbbbbbbbbb"


def dialler(secret: bytes = SECRET, *, me: str = A, wanted: str = B) -> Handshake:
    return Handshake(Me(me, secret), wanted=wanted)


def listener(secret: bytes = SECRET, *, me: str = B) -> Handshake:
    return Handshake(Me(me, secret))


def refused(side: Handshake, *frames: Frame) -> Refusal:
    """Why one side ends the connection when it gets these frames."""

    def hear() -> None:
        for frame in frames:
            side.receive(frame)

    with pytest.raises(HelloError) as caught:
        hear()
    assert not side.done
    return caught.value.reason


def test_both_know_the_secret() -> None:
    one, other = dialler(), listener()
    (hello,) = one.first()
    (answer,) = other.receive(hello)
    (proof,) = one.receive(answer)
    assert not one.done
    assert not other.done
    (other_proof,) = other.receive(proof)
    assert other.done
    assert one.receive(other_proof) == []
    assert one.done
    assert (one.peer, other.peer) == (B, A)


def test_who_calls_with_another_secret_is_refused() -> None:
    one, other = dialler(b"another secret altogether"), listener()
    (answer,) = other.receive(one.first()[0])
    (proof,) = one.receive(answer)
    assert refused(other, proof) is Refusal.SECRET


def test_who_answers_with_another_secret_is_refused() -> None:
    """Whoever took the place of a node learns nothing that lets it pass."""
    one, other = dialler(), listener(b"another secret altogether")
    (answer,) = other.receive(one.first()[0])
    (proof,) = one.receive(answer)
    assert refused(other, proof) is Refusal.SECRET
    assert refused(one, proof) is Refusal.SECRET  # its own proof, sent back
    assert refused(one, Frame(0, FrameType.PROOF, b"\0" * 32)) is Refusal.SECRET


def test_what_was_said_once_says_nothing_again() -> None:
    one, other = dialler(), listener()
    (hello,) = one.first()
    (proof,) = one.receive(other.receive(hello)[0])
    other.receive(proof)
    assert other.done
    again = listener()
    again.receive(hello)
    assert refused(again, proof) is Refusal.SECRET


def test_the_answers_of_another_conversation_say_nothing() -> None:
    one, other = dialler(), listener()
    (answer,) = other.receive(one.first()[0])
    (other_proof,) = other.receive(one.receive(answer)[0])
    again = dialler()
    again.first()
    again.receive(answer)
    assert refused(again, other_proof) is Refusal.SECRET


def test_a_proof_of_one_direction_is_none_of_the_other() -> None:
    """Two connections that are opened at a time to the same node, one of which copies the other."""
    one, other = dialler(), listener()
    (answer,) = other.receive(one.first()[0])
    (proof,) = one.receive(answer)
    mirrored = dialler(me=B, wanted=A)
    mirrored.first()
    mirrored.receive(one.first()[0])
    assert refused(mirrored, proof) is Refusal.SECRET


def test_another_node_than_the_one_that_is_wanted_is_refused_by_both() -> None:
    one, other = dialler(wanted=B), listener(me="cccccccccccc")
    (hello,) = one.first()
    assert refused(other, hello) is Refusal.NODE
    stranger = Handshake(Me("cccccccccccc", SECRET), wanted="x")
    assert refused(one, *stranger.first()) is Refusal.NODE


def test_a_later_version_alone_is_refused() -> None:
    hello = {"incarnation": A, "nonce": "0" * 64, "versions": [2, 3], "to": B, "later": True}
    assert refused(listener(), Frame(0, FrameType.HELLO, msgspec.json.encode(hello))) is Refusal.VERSION
    (answer,) = listener().receive(Frame(0, FrameType.HELLO, msgspec.json.encode({**hello, "versions": [1, 2]})))
    assert answer.type == FrameType.HELLO


@pytest.mark.parametrize(
    "frame",
    [
        Frame(0, FrameType.PROOF, b"\0" * 32),
        Frame(0, FrameType.HELLO, b"{"),
        Frame(0, FrameType.HELLO, b'{"incarnation":"aaaaaaaaaaaa","nonce":"00","to":"bbbbbbbbbbbb"}'),
        Frame(1, FrameType.HELLO, b"{}"),
        Frame(1, FrameType.REQUEST, b"\0" * 6),
        Frame(0, 255, b""),
    ],
)
def test_anything_else_first_is_refused(frame: Frame) -> None:
    assert refused(listener(), frame) is Refusal.MALFORMED


def test_a_second_hello_is_refused() -> None:
    other = listener()
    (hello,) = dialler().first()
    other.receive(hello)
    assert refused(other, hello) is Refusal.MALFORMED


def test_whom_the_node_does_not_want_is_refused_after_its_proof() -> None:
    asked: list[str] = []

    def busy(node: str) -> Refusal | None:
        asked.append(node)
        return Refusal.CROSSED

    one, other = dialler(), Handshake(Me(B, SECRET), on_proven=busy)
    (answer,) = other.receive(one.first()[0])
    assert asked == []
    assert refused(other, *one.receive(answer)) is Refusal.CROSSED
    assert asked == [A]


def test_a_fingerprint_tells_secrets_apart() -> None:
    assert fingerprint(SECRET) == fingerprint(bytes(SECRET))
    assert fingerprint(SECRET) != fingerprint(SECRET + b".")
    assert SECRET.hex() not in fingerprint(SECRET)
