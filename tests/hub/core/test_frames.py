"""Frames as a server sends them, read back by an independent parser; and that they are built once."""

from __future__ import annotations

import json

import pytest
from websockets.frames import Frame
from websockets.streams import StreamReader

from hub.core.frames import FrameCaches, arrays, payload_of, text_frame, text_frames
from hub.core.message import Message
from tests.robustness.direct_way import payloads


@pytest.mark.parametrize(("size", "header"), [(0, 2), (1, 2), (125, 2), (126, 4), (65535, 4), (65536, 10), (200_000, 10)])
def test_a_text_frame_has_the_shortest_header_and_reads_back(size: int, header: int) -> None:
    payload = b"x" * size
    frame = text_frame(payload)
    assert len(frame) == header + size
    assert payload_of(frame) == payload
    stream = StreamReader()
    stream.feed_data(frame)
    parser = Frame.parse(stream.read_exact, mask=False)
    with pytest.raises(StopIteration) as parsed:
        next(parser)
    read: Frame = parsed.value.value
    assert (read.opcode, read.fin, bytes(read.data)) == (1, True, payload)
    assert (read.rsv1, read.rsv2, read.rsv3) == (False, False, False)


def test_arrays_are_as_large_as_they_may_be_and_no_larger() -> None:
    parts = [b"1" * 4, b"2" * 4, b"3" * 20, b"4"]
    assert list(arrays(parts, 9)) == [(b"[1111,2222]", 2), (b"[33333333333333333333]", 1), (b"[4]", 1)]
    assert list(arrays([], 9)) == []
    assert text_frames(parts, 9) == [(text_frame(payload), count) for payload, count in arrays(parts, 9)]


def test_sessions_that_get_the_same_get_the_same_bytes() -> None:
    caches = FrameCaches(1000)
    first, second = Message("/a", b"1"), Message("/a", b"1")
    frames = caches.bayeux.frames([first, second])
    assert caches.bayeux.frames([first, second]) is frames
    assert caches.bayeux.frames([first]) is not frames
    assert caches.bayeux.frames([second, first]) == frames, "built anew: messages are told apart by identity"


def test_each_endpoint_has_its_shape() -> None:
    caches = FrameCaches(1000)
    message = Message("/a", b"1", position=7)
    assert [json.loads(payloads(cache.frames([message]))[0]) for cache in (caches.bayeux, caches.replayable, caches.dashboard)] == [
        [{"channel": "/a", "data": 1}],
        [{"channel": "/a", "data": 1, "replayId": 7}],
        [{"type": "event", "channel": "/a", "data": 1, "position": 7}],
    ]


def test_what_is_too_long_for_one_frame_is_several_in_one_write() -> None:
    messages = [Message("/a", b"%d" % number) for number in range(5)]
    frames = FrameCaches(60).bayeux.frames(messages)
    assert [[each["data"] for each in json.loads(payload)] for payload in payloads(frames)] == [[0, 1], [2, 3], [4]]
