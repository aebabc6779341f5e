"""Event streams without a server: what a client asks for, and which blocks it gets when."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from hub.bus.interface import Bus
from hub.bus.memory import MemoryBus
from hub.core.delivery import ChannelDeclaration, ChannelRegistry, DeliveryClass
from hub.core.hub import Hub
from hub.core.limits import Limits
from hub.core.message import Message
from hub.core.subscriber import Subscriber
from hub.dashboard.stream import QueryError, StreamCounters, StreamRequest, StreamSession, read_request
from hub.eventlog.channel_log import ChannelLog
from hub.eventlog.channel_log_memory import MemoryChannelLog
from tests.hub.core.harness import ManualLoop
from tests.hub.dashboard.harness import Grants, principal
from tests.world import ManualClock

LIMITS = Limits()


# -- what is asked for --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "header", "expected"),
    [
        (b"channel=/a&channel=/b/**", None, StreamRequest(["/a", "/b/**"], None, resumes=False)),
        (b"channel=/a&channel=/a&x=1", None, StreamRequest(["/a"], None, resumes=False)),
        (b"channel=%2Fa%252Fb", None, StreamRequest(["/a%2Fb"], None, resumes=False)),
        (b"channel=/a", "17", StreamRequest(["/a"], 17, resumes=True)),
        (b"channel=/a&since=5&lastEventId=6", "17", StreamRequest(["/a"], 17, resumes=True)),
        (b"channel=/a&since=5&lastEventId=6", None, StreamRequest(["/a"], 6, resumes=True)),
        (b"channel=/a&since=5", "", StreamRequest(["/a"], 5, resumes=True)),
        (b"channel=/a&since=9007199254740991", None, StreamRequest(["/a"], 2**53 - 1, resumes=True)),
        (b"channel=/a&lastEventId=", None, StreamRequest(["/a"], None, resumes=False)),
    ],
)
def test_a_request_is_read(query: bytes, header: str | None, expected: StreamRequest) -> None:
    assert read_request(query, header, LIMITS) == expected


@pytest.mark.parametrize("text", ["urn:uuid:1", "-1", "1.0", "1e3", "9007199254740992", "9" * 5000, "\u0663", " 1"])
def test_a_last_event_id_that_is_no_position_is_none_of_ours(text: str) -> None:
    assert read_request(b"channel=/a", text, LIMITS) == StreamRequest(["/a"], None, resumes=True)


@pytest.mark.parametrize(
    ("query", "field", "got"),
    [
        (b"", "channel", "none"),
        (b"chanel=/a", "channel", "none"),
        (b"&".join(b"channel=/a/%d" % number for number in range(501)), "channel", "501"),
        (b"channel=/a&since=now", "since", '"now"'),
        (b"channel=/a&since=", "since", '""'),
        (b"channel=/a&since=-1", "since", '"-1"'),
    ],
)
def test_a_bad_query_is_refused_by_name(query: bytes, field: str, got: str) -> None:
    with pytest.raises(QueryError) as refused:
        read_request(query, None, LIMITS)
    assert (refused.value.field, refused.value.got) == (field, got)


# -- the shape of a message ---------------------------------------------------------------------------------------------


def test_a_message_is_one_block() -> None:
    assert Message("/a", b'{"x":1}').sse() == b'event: message\ndata: {"channel":"/a","data":{"x":1}}\n\n'


def test_a_message_of_a_log_channel_has_its_position() -> None:
    assert Message("/a", b"1", DeliveryClass.LOG, position=7).sse() == b'event: message\ndata: {"channel":"/a","data":1}\nid: 7\n\n'


def test_data_with_line_ends_stays_in_one_line() -> None:
    block = Message("/a", b'{\r\n  "x":\n"\\n"\r}').sse()
    assert block.count(b"\n") == 3
    assert b"\r" not in block
    assert json.loads(block.splitlines()[1].removeprefix(b"data: "))["data"] == {"x": "\n"}


# -- a stream -----------------------------------------------------------------------------------------------------------


class Pipe:
    """An outlet that remembers what it was told."""

    def __init__(self) -> None:
        self.woken = 0
        self.closed = 0
        self.size: int | None = None

    def wake(self) -> None:
        self.woken += 1

    def unread(self) -> int | None:
        return self.size

    def close(self) -> None:
        self.closed += 1


class Stream:
    """One hub, one stream; what is random is the middle."""

    def __init__(self, limits: Limits | None = None, *, log: ChannelLog | None = None, bus: Bus | None = None) -> None:
        self.clock = ManualClock()
        self.loop = ManualLoop()
        self.faults: list[Exception] = []
        self.log = log or MemoryChannelLog(self.clock)
        self.hub = Hub(
            bus=bus or MemoryBus(self.log),
            log=self.log,
            registry=ChannelRegistry(
                [
                    ChannelDeclaration("/log/**", DeliveryClass.LOG, "log"),
                    ChannelDeclaration("/state/**", DeliveryClass.STATE, "state", snapshot=self._snapshot),
                ]
            ),
            authorizer=Grants(),
            loop=self.loop,
            clock=self.clock,
            on_fault=self._fault,
            limits=limits,
        )
        self.pipe = Pipe()
        self.counters = StreamCounters()
        self.session = StreamSession(self.hub, "s1", principal(), self.pipe, self.counters, jitter=lambda n: n // 2)
        self.hub.sessions.attach(self.session)

    def _fault(self, subscriber: Subscriber, fault: Exception) -> None:
        self.faults.append(fault)

    async def _snapshot(self, tenant: str, audience: str, pattern: str) -> Sequence[tuple[str, bytes]]:
        return [("/state/x", b'"now"')]

    async def open(self, *channels: str, since: int | None = None, resumes: bool = False) -> bytes:
        result = await self.hub.subscriptions.subscribe(
            self.session, channels, since=None if since is None else dict.fromkeys(channels, since)
        )
        opening = self.session.open(result.outcomes, resumes=resumes or since is not None)
        await result.start()
        await self.loop.run()
        return opening

    async def emit(self, channel: str, data: bytes = b"1") -> None:
        await self.hub.publisher.emit("t", channel, data)
        await self.loop.run()
        assert not self.faults

    def read(self) -> list[bytes]:
        """Every chunk that waits."""
        chunks = []
        while (chunk := self.session.next_chunk()) is not None:
            chunks.append(chunk)
        return chunks

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        self.hub.timers.sweep()

    @property
    def position(self) -> int:
        position = self.hub.positions.newest("t")
        assert position is not None
        return position


def block(channel: str, data: str, identifier: int | None = None) -> bytes:
    tail = "" if identifier is None else f"id: {identifier}\n"
    return f'event: message\ndata: {{"channel":"{channel}","data":{data}}}\n{tail}\n'.encode()


def position_event(position: int) -> bytes:
    return b'event: position\ndata: {"position":%d}\nid: %d\n\n' % (position, position)


async def test_a_stream_without_log_channels_begins_with_when_to_come_back() -> None:
    assert await Stream().open("/free/a") == b"retry: 3000\n\n"
    assert await Stream(Limits(sse_retry_ms=100)).open("/free/a") == b"retry: 150\n\n"
    assert await Stream(Limits(sse_retry_ms=0)).open("/free/a") == b"retry: 0\n\n"


async def test_a_stream_of_log_channels_begins_with_its_position() -> None:
    stream = Stream()
    assert await stream.open("/log/a") == b"retry: 3000\n" + position_event(stream.position)


async def test_what_waits_leaves_in_one_chunk() -> None:
    stream = Stream()
    await stream.open("/free/a")
    for number in range(3):
        await stream.hub.publisher.emit("t", "/free/a", b"%d" % number)
    await stream.loop.run()
    assert stream.pipe.woken == 1
    assert stream.read() == [b"".join(block("/free/a", str(number)) for number in range(3))]


async def test_chunks_are_bounded() -> None:
    stream = Stream(Limits(max_frame_bytes=1000))
    await stream.open("/free/a")
    for number in range(20):
        await stream.emit("/free/a", b'"%s%02d"' % (b"x" * 100, number))
    chunks = stream.read()
    assert max(len(chunk) for chunk in chunks) <= 1000
    assert [line[-4:-2] for line in b"".join(chunks).splitlines() if line.startswith(b"data")] == [b"%02d" % n for n in range(20)]


async def test_a_message_larger_than_a_chunk_leaves_alone() -> None:
    stream = Stream(Limits(max_frame_bytes=10))
    await stream.open("/free/a")
    await stream.emit("/free/a", b"12345")
    await stream.emit("/free/a", b"2")
    assert stream.read() == [block("/free/a", "12345"), block("/free/a", "2")]


# -- resuming -----------------------------------------------------------------------------------------------------------


async def test_a_stream_that_resumes_gets_what_it_missed_and_no_gap() -> None:
    stream = Stream()
    since = (await stream.log.span("t")).newest
    await stream.emit("/log/a", b"1")
    missed = stream.position
    assert b"gap" not in await stream.open("/log/a", since=since)
    assert stream.read() == [block("/log/a", "1", missed)]


async def test_a_position_that_is_none_of_the_log_is_told_as_a_gap_with_the_position_that_holds() -> None:
    stream = Stream()
    opening = await stream.open("/log/a", since=5)
    position = stream.position
    gap = f'event: gap\ndata: {{"channels":[{{"channel":"/log/a","position":{position},"recovered":false}}]}}\n\n'
    assert opening == b"retry: 3000\n" + position_event(position) + gap.encode()


async def test_an_event_channel_cannot_be_recovered_and_a_state_channel_need_not() -> None:
    stream = Stream()
    since = (await stream.log.span("t")).newest
    opening = await stream.open("/log/a", "/free/a", "/state/x", "/state/**", since=since)
    assert b'data: {"channels":[{"channel":"/free/a","position":null,"recovered":false}]}\n' in opening


async def test_an_event_id_that_nobody_understands_is_a_gap_on_every_log_channel() -> None:
    stream = Stream()
    assert (await stream.open("/log/a", "/log/b", resumes=True)).count(b'"recovered":false') == 2


# -- comments -----------------------------------------------------------------------------------------------------------


async def test_comments_come_at_their_interval_from_a_moment_of_the_streams_own() -> None:
    stream = Stream()
    await stream.open("/free/a")
    stream.pass_time(11)
    assert stream.read() == []
    stream.pass_time(0.5)  # 15 s less a quarter, for the jitter of the test is the middle
    assert stream.read() == [b":\n\n"]
    stream.pass_time(15.1)
    assert stream.read() == [b":\n\n"]
    assert stream.counters.comments == 2


async def test_a_comment_says_how_far_the_log_is_when_that_is_news() -> None:
    stream = Stream()
    await stream.open("/log/a")
    await stream.emit("/log/b")
    stream.pass_time(16)
    assert stream.read() == [b":\n" + position_event(stream.position)]
    stream.pass_time(16)
    assert stream.read() == [b":\n\n"]


async def test_a_comment_does_not_say_what_an_event_said_already() -> None:
    stream = Stream()
    await stream.open("/log/a")
    await stream.emit("/log/a")
    stream.pass_time(16)
    assert stream.read() == [block("/log/a", "1", stream.position) + b":\n\n"]


async def test_a_stream_without_log_channels_hears_of_no_position() -> None:
    stream = Stream()
    await stream.open("/free/a")
    await stream.emit("/log/b")
    stream.pass_time(16)
    assert stream.read() == [b":\n\n"]


async def test_a_stream_that_catches_up_is_not_told_a_position_that_it_has_not_reached() -> None:
    stream = Stream()
    since = (await stream.log.span("t")).newest
    await stream.emit("/log/a", b"1")
    result = await stream.hub.subscriptions.subscribe(stream.session, ["/log/a"], since={"/log/a": since})
    stream.session.open(result.outcomes, resumes=True)
    stream.pass_time(16)
    assert stream.read() == [b":\n\n"]
    await stream.loop.run()  # what it has still to read


async def test_no_comments_when_the_setting_says_so() -> None:
    stream = Stream(Limits(sse_comment_s=0))
    await stream.open("/free/a")
    stream.pass_time(1000)
    assert stream.read() == []
    assert len(stream.hub.timers) == 0


# -- slow readers -------------------------------------------------------------------------------------------------------


async def test_a_client_that_reads_nothing_for_two_intervals_is_ended() -> None:
    stream = Stream()
    await stream.open("/free/a")
    stream.pipe.size = 1000
    for _ in range(2):
        stream.pass_time(15.1)
        assert not stream.session.ended
    stream.pass_time(15.1)
    assert stream.session.ended
    assert stream.counters.stalled == 1
    assert stream.hub.sessions.by_id == {}


async def test_a_client_that_reads_slowly_is_kept_and_sent_no_comments() -> None:
    stream = Stream()
    await stream.open("/free/a")
    for size in range(1000, 990, -1):
        stream.pipe.size = size
        stream.pass_time(15.1)
    assert not stream.session.ended
    assert stream.read() == []


async def test_events_above_the_limit_are_dropped_and_counted() -> None:
    stream = Stream(Limits(max_queue_bytes=300))
    await stream.open("/free/a")
    for number in range(5):
        await stream.emit("/free/a", b"%d" % number)
    assert stream.hub.counters.dropped == stream.session.dropped == 1
    assert b"".join(stream.read()).count(b"event: message") == 4


async def test_a_state_channel_above_the_limit_is_followed_by_a_snapshot() -> None:
    stream = Stream(Limits(max_queue_bytes=300))
    await stream.open("/state/x")
    for number in range(6):
        await stream.emit("/state/x", b"%d" % number)
    stream.read()
    await stream.loop.run()
    assert b"".join(stream.read()) == block("/state/x", '"now"')


async def test_a_log_channel_above_the_limit_ends_the_stream_without_what_waited() -> None:
    stream = Stream(Limits(max_queue_bytes=300))
    await stream.open("/log/a")
    for number in range(6):
        await stream.emit("/log/a", b"%d" % number)
    assert stream.session.ended
    assert stream.counters.too_slow == 1
    (last,) = stream.read()
    assert last.startswith(b": messages of a log channel waited for too long")
    assert last.count(b"\n") == 2


# -- the end ------------------------------------------------------------------------------------------------------------


async def test_a_stream_is_sent_away_with_what_waits_and_a_time_to_come_back() -> None:
    stream = Stream()
    await stream.open("/free/a")
    await stream.emit("/free/a")
    stream.session.send_away()
    assert stream.pipe.closed == 1
    assert stream.read() == [block("/free/a", "1") + b"retry: 3500\n: the server stops\n\n"]


async def test_a_revoked_stream_gets_nothing_more() -> None:
    stream = Stream()
    await stream.open("/free/a")
    await stream.emit("/free/a")
    stream.session.end_revoked()
    assert stream.read() == [b": the credential has ended: it ran out, was removed or changed\n\n"]
    assert stream.counters.revoked == 1


async def test_an_administrator_disconnects_a_stream() -> None:
    stream = Stream()
    await stream.open("/free/a")
    stream.session.disconnect()
    assert stream.read() == [b": disconnected by an administrator\n\n"]
    assert stream.counters.disconnected == 1


async def test_a_stream_ends_once_and_gives_everything_back() -> None:
    stream = Stream()
    await stream.open("/free/a", "/log/a")
    stream.session.client_gone()
    for end in (stream.session.client_gone, stream.session.end_revoked, stream.session.disconnect, stream.session.end_too_slow):
        end()
    assert stream.pipe.closed == 1
    assert (stream.counters.client_gone, stream.counters.revoked, stream.counters.too_slow) == (1, 0, 0)
    assert stream.hub.sessions.by_id == {}
    assert len(stream.hub.router) == 0
    assert len(stream.hub.timers) == 0
    await stream.emit("/free/a")
    assert stream.read() == []
