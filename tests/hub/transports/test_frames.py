"""Frames as a server sends them, read back by an independent parser."""

import pytest
from websockets.frames import Frame
from websockets.streams import StreamReader

from hub.transports.frames import fit_reason, text_frame


@pytest.mark.parametrize(("size", "header"), [(0, 2), (1, 2), (125, 2), (126, 4), (65535, 4), (65536, 10), (200_000, 10)])
def test_a_text_frame_has_the_shortest_header_and_reads_back(size: int, header: int) -> None:
    payload = b"x" * size
    frame = text_frame(payload)
    assert len(frame) == header + size
    stream = StreamReader()
    stream.feed_data(frame)
    parser = Frame.parse(stream.read_exact, mask=False)
    with pytest.raises(StopIteration) as parsed:
        next(parser)
    read: Frame = parsed.value.value
    assert (read.opcode, read.fin, bytes(read.data)) == (1, True, payload)
    assert (read.rsv1, read.rsv2, read.rsv3) == (False, False, False)


@pytest.mark.parametrize(
    ("reason", "fitted"), [("", ""), ("a" * 123, "a" * 123), ("a" * 124, "a" * 123), ("é" * 62, "é" * 61), ("\ud800", "?")]
)
def test_a_reason_fits_a_control_frame_and_is_never_cut_inside_a_character(reason: str, fitted: str) -> None:
    assert fit_reason(reason) == fitted
