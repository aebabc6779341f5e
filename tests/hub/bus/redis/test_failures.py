"""What happens to clusters: connections that break or fall silent, a Redis that ends, stalls, forgets, or is a master no more."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from hub.bus.interface import BusError, Envelope, Gap
from hub.bus.redis.bus import RedisBus
from hub.bus.redis.envelopes import header_of
from hub.cluster.ports import NodeRecord
from hub.core.delivery import DeliveryClass
from hub.core.message import Topic
from hub.core.principal import login_key
from hub.eventlog.channel_log_redis import RedisChannelLog
from hub.redis.endpoint import UrlEndpoint
from hub.redis.names import Names
from hub.redis.server import UnusableRedisError
from hub.redis.urls import open_servers
from tests.hub.bus.backends import until
from tests.hub.bus.redis.cluster import EVERY, PATIENT, TOPICS, TUNING, Cluster, MakeCluster
from tests.hub.bus.redis.test_envelopes import payload_of, read_by_the_first_version
from tests.support.gate import Gate
from tests.support.redis_server import KINDS, RedisServer, free_port, persistence

pytestmark = pytest.mark.repeated

Start = Callable[..., RedisServer]
LONG_ROUNDS = int(os.environ.get("HUB_TEST_KILLS", "200"))


async def ask(server: RedisServer, *command: object) -> object:
    """A command of an operator."""
    return await asyncio.to_thread(server.ask, *command)


# -- connections ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_subscriber_connections_are_killed(redis_process: Start, make_cluster: MakeCluster, kind: str) -> None:
    cluster = make_cluster(server := redis_process(kind), tuning=PATIENT)
    async with cluster.under_load():
        for _ in range(3):
            await ask(server, "CLIENT", "KILL", "TYPE", "pubsub")
            await cluster.progress()
    await cluster.check()
    assert cluster.b.bus.counters.connected >= 3
    assert cluster.a.refused == cluster.b.refused == 0


async def test_command_connections_are_killed(redis_process: Start, make_cluster: MakeCluster) -> None:
    cluster = make_cluster(server := redis_process(), tuning=PATIENT)
    async with cluster.under_load():
        for _ in range(3):
            await ask(server, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await cluster.progress()
    await cluster.check()
    assert cluster.b.bus.counters.connected == 1
    assert cluster.a.refused == cluster.b.refused == 0


async def test_a_connection_to_another_server_is_found_deaf(redis_process: Start, make_cluster: MakeCluster) -> None:
    server, other = redis_process(), redis_process()
    gate = await Gate(server.folder / "gate.sock", server.path).start()
    cluster = make_cluster(server)
    # only what B hears goes through the gate
    cluster.b.bus.subscriber.endpoint = UrlEndpoint(f"unix://{gate.path}")
    async with cluster.under_load():
        gate.upstream = other.path
        gate.drop()
        await until(lambda: cluster.b.bus._heard.trouble is not None)
        assert await cluster.b.bus.deaf() is not None
        assert await cluster.b.bus.trouble() is None
        gate.upstream = server.path
        gate.drop()
        await until(lambda: cluster.b.bus._heard.trouble is None)
        assert await cluster.b.bus.deaf() is None
    await cluster.check(durable=False)
    await cluster.close()
    await gate.close()


async def test_a_connection_on_which_nothing_comes_is_given_up(redis_process: Start, make_cluster: MakeCluster) -> None:
    server = redis_process()
    gate = await Gate(server.folder / "gate.sock", server.path).start()
    cluster = make_cluster(server)
    cluster.b.bus.subscriber.endpoint = UrlEndpoint(f"unix://{gate.path}")
    async with cluster.under_load():
        gate.hold("answers")
        await until(lambda: cluster.b.bus.counters.deaf > 0)
        assert await cluster.b.bus.deaf() is not None
        gate.release()
    await cluster.check()
    await cluster.close()
    await gate.close()


async def cut_off(cluster: Cluster, messages: int, size: int) -> None:
    """Have Redis end the subscriber's connection, since it does not read what is sent."""
    connection = cluster.b.bus.subscriber.connection
    assert connection is not None
    assert connection._transport is not None
    before = cluster.b.bus.counters.connected
    connection._transport.pause_reading()
    for _ in range(messages):
        await cluster.a.append(TOPICS[0], b"x" * size)
    connection._transport.resume_reading()
    await until(lambda: cluster.b.bus.counters.connected == before + 1)
    await cluster.settle()
    assert cluster.b.journal.positions == cluster.a.acknowledged


LITTLE_ROOM = ("--client-output-buffer-limit", "pubsub 1mb 1mb 1")


async def test_redis_cuts_off_who_does_not_read(redis_process: Start, make_cluster: MakeCluster) -> None:
    cluster = make_cluster(redis_process("redis", *LITTLE_ROOM), tuning=PATIENT)
    await cluster.b.bus.subscribe([EVERY], positions=True)
    await cut_off(cluster, 60, 100_000)
    assert cluster.b.bus.counters.repaired > 0


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
async def test_redis_cuts_off_who_does_not_read_hundreds_of_times(redis_process: Start, make_cluster: MakeCluster) -> None:
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    print(f"seed {seed}")
    server = redis_process("redis", *LITTLE_ROOM)
    for _ in range(LONG_ROUNDS):
        cluster = make_cluster(server, tuning=PATIENT)
        await cluster.b.bus.subscribe([EVERY], positions=True)
        for _ in range(chance.randint(1, 3)):
            size = chance.choice([50_000, 100_000, 200_000])
            await cut_off(cluster, 6_000_000 // size + chance.randint(0, 20), size)
        await cluster.close()


# -- the server -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kept", ["always", "everysec", "none"])
async def test_redis_is_killed(redis_process: Start, make_cluster: MakeCluster, kind: str, kept: str) -> None:
    cluster = make_cluster(server := redis_process(kind, *persistence(kept)))
    before = (await cluster.a.log.span("t")).floor
    async with cluster.under_load():
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
    await cluster.check(durable=kept == "always")
    span = await cluster.a.log.span("t")
    if kept == "always":
        assert (span.floor, span.seam) == (before, 0)
    elif kept == "everysec":
        assert span.seam > before  # who comes with a position before it has not recovered
    else:
        assert span.floor > before + 1


async def test_redis_stalls(redis_process: Start, make_cluster: MakeCluster) -> None:
    cluster = make_cluster(server := redis_process())
    async with cluster.under_load():
        server.stall()
        assert await cluster.a.append(TOPICS[1]) is None  # it comes back although nobody answers
        server.wake()
        await until(lambda: cluster.b.bus.connected)
    await cluster.check(durable=False)
    assert not cluster.b.journal.seams
    assert set(cluster.a.acknowledged + cluster.b.acknowledged) <= (await cluster.in_log()).keys()


@pytest.mark.parametrize(
    "command", [("FLUSHALL",), ("SCRIPT", "FLUSH"), ("DEL", "m"), ("DEL", "l")], ids=lambda command: " ".join(command).lower()
)
async def test_an_operator_deletes(redis_process: Start, make_cluster: MakeCluster, command: tuple[str, ...]) -> None:
    cluster = make_cluster(server := redis_process(), tuning=PATIENT)
    names = cluster.names.of("t")
    keys = {"m": names.meta, "l": names.stream}
    async with cluster.under_load():
        before = max(cluster.a.acknowledged)
        await ask(server, *[keys.get(word, word) for word in command])
    await cluster.check(durable=command[0] == "SCRIPT")
    for node in cluster.nodes:
        assert not node.refused
        assert not node.journal.gaps  # who was there missed nothing
    if command[0] != "SCRIPT":
        assert (await cluster.a.log.span("t")).floor >= before  # who comes back cannot be sure


async def test_a_master_that_is_demoted(redis_process: Start, make_cluster: MakeCluster) -> None:
    cluster = make_cluster(server := redis_process(port=free_port()))
    async with cluster.under_load():
        await ask(server, "REPLICAOF", "127.0.0.1", str(free_port()))
        await until(lambda: cluster.b.bus._heard.trouble is not None)
        assert "slave" in (cluster.b.bus._heard.trouble or "")
        assert await cluster.a.append(TOPICS[1]) is None
        cluster.b.bus._look_again = 0
        assert await cluster.b.bus.trouble() == "Redis does not answer"
        await ask(server, "REPLICAOF", "NO", "ONE")
    await cluster.check()


async def test_a_replica_that_lags_is_promoted(redis_process: Start, make_cluster: MakeCluster) -> None:
    master, replica = redis_process(port=free_port()), redis_process(port=free_port())
    gate = await Gate(master.folder / "gate.sock", master.path).start()
    cluster = Cluster(master, gate.path)
    await cluster.a.close()
    cluster.a = type(cluster.a)(master.servers(gate.path), cluster.names, "a2")
    await ask(replica, "REPLICAOF", "127.0.0.1", str(master.port))
    try:
        async with cluster.under_load():
            await asyncio.to_thread(_until_linked, replica)
            await cluster.progress()
            await ask(replica, "REPLICAOF", "NO", "ONE")  # it has what came until now, and lacks what comes
            lacking = len(cluster.a.acknowledged)
            await cluster.progress()
            lost = cluster.a.acknowledged[lacking:]
            highest = max(cluster.a.acknowledged + cluster.b.acknowledged)
            gate.upstream = replica.path
            gate.drop()
        await cluster.check(durable=False)
        span = await cluster.a.log.span("t")
        assert span.seam > highest >= max(lost)
        assert not set(lost[2:]) & (await cluster.in_log()).keys()
    finally:
        await cluster.close()
        await gate.close()


def _until_linked(replica: RedisServer) -> None:
    with replica.client() as client:
        while client.info("replication").get("master_link_status") != "up":
            time.sleep(0.02)


# -- what is refused ------------------------------------------------------------------------------------------------------


async def test_a_server_that_evicts_is_refused(redis_process: Start, make_cluster: MakeCluster) -> None:
    cluster = make_cluster(server := redis_process("redis", "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"))
    with pytest.raises(UnusableRedisError, match="maxmemory-policy allkeys-lru"):
        await cluster.a.bus.start()
    with pytest.raises(BusError):
        await asyncio.wait_for(_subscribe_quickly(make_cluster, server), 5)
    await ask(server, "CONFIG", "SET", "maxmemory-policy", "noeviction")
    assert await cluster.a.bus.subscribe([TOPICS[0]], positions=True)
    assert await cluster.a.bus.trouble() is None
    await ask(server, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    cluster.a.bus._look_again = 0
    assert "allkeys-lru" in (await cluster.a.bus.trouble() or "")


async def test_one_server_by_two_names_is_refused(shared_redis: Callable[[str], RedisServer]) -> None:
    """Each start would take its logs for those of tenants that have moved, and make a seam in all of them."""
    server = shared_redis("redis")
    servers = open_servers([server.url, f"{server.url}?db=0"])
    bus = RedisBus(servers, RedisChannelLog(servers, names := Names("twice")), names)
    try:
        with pytest.raises(UnusableRedisError, match="expected servers that differ, got one twice"):
            await bus.start()
    finally:
        await servers.close()


async def _subscribe_quickly(make_cluster: MakeCluster, server: RedisServer) -> None:
    await make_cluster(server, tuning=replace(TUNING, subscribe_s=0.3)).a.bus.subscribe([TOPICS[0]], positions=True)


async def test_a_hub_waits_for_a_redis_that_comes_later(redis_process: Start, make_cluster: MakeCluster) -> None:
    server = redis_process()
    await asyncio.to_thread(server.kill)
    cluster = make_cluster(server)
    await cluster.a.bus.start()
    assert await cluster.a.append(TOPICS[0]) is None
    subscribing = asyncio.ensure_future(cluster.b.bus.subscribe([TOPICS[0]], positions=True))
    await asyncio.to_thread(server.start)
    await subscribing
    await cluster.a.append(TOPICS[0])
    await cluster.settle()
    assert cluster.b.journal.positions == cluster.a.acknowledged


# -- bounds ---------------------------------------------------------------------------------------------------------------


async def test_how_long_a_message_takes_is_measured(redis_process: Start, make_cluster: MakeCluster) -> None:
    cluster = make_cluster(redis_process())
    assert cluster.a.bus.lag_s == 0
    await until(lambda: cluster.a.bus.lag_s > 0)
    assert cluster.a.bus.lag_s < TUNING.liveness_s


async def test_what_waits_for_redis_is_bounded(redis_process: Start, make_cluster: MakeCluster) -> None:
    cluster = make_cluster(server := redis_process(), tuning=replace(TUNING, max_pending=200, liveness_s=30))
    await cluster.b.bus.subscribe([Topic("t", "", "/e")], positions=False)
    await cluster.a.append(TOPICS[0])
    server.stall()
    bus = cluster.a.bus
    for number in range(1000):
        bus.publish(Envelope(Topic("t", "", "/e"), DeliveryClass.EVENT, b"%d" % number))
        assert bus.pending <= 200
    assert bus.counters.overloaded == 800
    assert await cluster.a.append(TOPICS[0]) is None
    assert (bus.counters.log_overloaded, bus.counters.log_lost) == (1, 0)  # at once: it did not wait for an answer
    server.wake()
    await cluster.settle()
    assert [int(data) for data in cluster.b.journal.events] == list(range(200))


async def test_nothing_is_kept_of_topics_that_nobody_hears_any_more(redis_process: Start, make_cluster: MakeCluster) -> None:
    cluster = make_cluster(server := redis_process())
    topics = [Topic(f"t{tenant}", login, f"/log/{number}") for tenant in range(5) for login in ("", "ann") for number in range(20)]
    for tenant in range(5):
        await cluster.a.bus.subscribe([topic for topic in topics if topic.tenant == f"t{tenant}"], positions=True)
    assert cluster.a.bus.channels == len(topics) + 10
    cluster.a.bus.unsubscribe(topics)
    await cluster.settle()
    assert cluster.a.bus.channels == cluster.a.bus._heard.tenants == 0
    assert len(await ask(server, "PUBSUB", "CHANNELS", f"{cluster.names.prefix}:*")) == 2  # type: ignore[arg-type]  # each node's own


async def test_a_buffer_that_grows_too_large_is_a_gap(redis_process: Start, make_cluster: MakeCluster) -> None:
    server = redis_process()
    gate = await Gate(server.folder / "gate.sock", server.path).start()
    cluster = make_cluster(server, tuning=replace(PATIENT, max_buffered_bytes=5_000))
    cluster.b.bus.subscriber.endpoint = UrlEndpoint(f"unix://{gate.path}")
    await cluster.b.bus.subscribe([EVERY], positions=True)
    await cluster.a.append(TOPICS[0])
    await cluster.settle()
    page = cluster.b.log.page
    reading = asyncio.Event()

    async def slow(tenant: str, after: int) -> object:
        await reading.wait()
        return await page(tenant, after)

    cluster.b.bus.subscriber._log = type("Slow", (), {"page": staticmethod(slow), "open": cluster.b.log.open})()
    # the message is in the log before B is back, so that B has something to read
    gate.cut()
    await until(lambda: not cluster.b.bus.connected)
    await cluster.a.append(TOPICS[0])
    gate.mend()
    await until(lambda: cluster.b.bus.connected)
    for _ in range(10):
        await cluster.a.append(TOPICS[0], b"x" * 1000)
    await until(lambda: bool(cluster.b.journal.gaps))
    reading.set()
    await cluster.settle()
    last = await cluster.a.append(TOPICS[0])
    await cluster.settle()
    heard = set(cluster.b.journal.positions)
    assert last in heard
    assert all(position in heard or cluster.b.journal.excused(position) for position in cluster.a.acknowledged)
    await cluster.close()
    await gate.close()


# -- who hears what -------------------------------------------------------------------------------------------------------


async def test_a_message_for_many_logins_reaches_each_of_them_once(redis_process: Start, make_cluster: MakeCluster) -> None:
    cluster = make_cluster(redis_process())
    logins = [login_key("t", "ann", str(number)) for number in range(1500)]
    here = [logins[0], logins[1200]]
    heard: list[Envelope] = []
    cluster.b.journal.on_envelope = heard.append  # type: ignore[method-assign]
    topics = [Topic("t", login, pattern) for login in here for pattern in ("/mine", "/**")]
    await cluster.b.bus.subscribe(topics, positions=False)
    cluster.a.bus.publish_to_logins(Envelope(Topic("t", "", "/mine"), DeliveryClass.STATE, b"1", b",x"), [*logins, "not-a-hash"])
    await cluster.settle()
    assert [(envelope.topic.audience, envelope.data, envelope.extra) for envelope in heard] == [(login, b"1", b",x") for login in here]


async def test_tenants_with_the_same_names_hear_nothing_of_each_other(redis_process: Start, make_cluster: MakeCluster) -> None:
    cluster = make_cluster(redis_process())
    heard: list[Envelope] = []
    cluster.b.journal.on_envelope = heard.append  # type: ignore[method-assign]
    tenants = ["t", "t}", "{t}", "t:c:", "T", "t%7D"]
    for tenant in tenants:
        await cluster.b.bus.subscribe([Topic(tenant, "", "/log/1"), Topic(tenant, "", "/**")], positions=True)
    for tenant in tenants:
        await cluster.a.bus.append(Envelope(Topic(tenant, "", "/log/1"), DeliveryClass.LOG, tenant.encode()))
        cluster.a.bus.publish(Envelope(Topic(tenant, "", "/log/1"), DeliveryClass.EVENT, tenant.encode()))
    await cluster.settle()
    assert all(envelope.topic.tenant.encode() == envelope.data for envelope in heard)
    assert sorted(envelope.data for envelope in heard) == sorted(tenant.encode() for tenant in tenants for _ in range(2))


async def test_messages_of_a_later_version_are_counted_and_looked_for_in_the_log(redis_process: Start, make_cluster: MakeCluster) -> None:
    cluster = make_cluster(server := redis_process())
    await cluster.b.bus.subscribe([TOPICS[0]], positions=True)
    (channel, *_) = cluster.names.channels(TOPICS[0])
    await ask(server, "PUBLISH", channel, b"4e of a later version")
    # a log message that a later version wrote, and whose record this one can read
    written = Envelope(TOPICS[0], DeliveryClass.LOG, b"1")
    await cluster.a.log.append(TOPICS[0], b"1", b"")
    await ask(server, "PUBLISH", channel, b"4l 7 " + header_of(written) + b"\n1")
    await until(lambda: len(cluster.b.journal.positions) == 1)
    await cluster.settle()
    assert cluster.b.bus.counters.undecoded == 2
    assert await cluster.a.append(TOPICS[0])
    await cluster.settle()
    assert len(cluster.b.journal.positions) == 2
    assert not cluster.b.journal.gaps


class Known:
    """Nodes of the hub, as a registry knows them."""

    def __init__(self, *versions: tuple[int, ...]) -> None:
        self.on_changed: list[Callable[[], object]] = []
        self.records: dict[str, NodeRecord] = {}
        self.know(*versions)

    def know(self, *versions: tuple[int, ...]) -> None:
        self.records = {
            str(number): NodeRecord(incarnation=str(number), version="1", envelopes=read) for number, read in enumerate(versions)
        }
        for listener in self.on_changed:
            listener()

    def live(self) -> dict[str, NodeRecord]:
        return self.records


async def test_nodes_of_two_versions_hear_each_other(redis_process: Start, make_cluster: MakeCluster) -> None:
    """A node writes the newest version that every live node reads; one that only reads the first version is the frozen reader."""
    cluster = make_cluster(server := redis_process())
    await cluster.b.bus.subscribe([TOPICS[0]], positions=True)
    with server.client() as client:
        first_version = client.pubsub(ignore_subscribe_messages=True)
        first_version.subscribe(*cluster.names.channels(TOPICS[0])[:1])
        first_version.get_message(timeout=5)

        def hear() -> bytes:
            while (message := first_version.get_message(timeout=5)) is None:
                pass
            return bytes(message["data"])

        nodes = Known((2, 3), (2,))
        for versions, digit in (((2, 3), (2,)), b"2"), (((2, 3), (2, 3)), b"3"), (((2, 3), (2,)), b"2"):
            nodes.know(*versions)
            if not nodes.on_changed:
                cluster.a.bus.follow(nodes)  # type: ignore[arg-type]
            position = await cluster.a.append(TOPICS[0], digit)
            payload = await asyncio.to_thread(hear)
            assert payload[:1] == digit
            if digit == b"2":
                read = read_by_the_first_version(payload)
                assert (read["position"], read["data"], read["topic"]) == (position, digit, ["", TOPICS[0].channel])
        # and what a node of the first version publishes comes here
        envelope = Envelope(TOPICS[0], DeliveryClass.EVENT, b"old", b"", None, None, "old", 1)
        await ask(server, "PUBLISH", cluster.names.channels(TOPICS[0])[0], payload_of(envelope, []))
        await until(lambda: cluster.b.journal.events == [b"old"])
        first_version.close()
    assert cluster.b.journal.positions == cluster.a.acknowledged
    assert cluster.b.bus.counters.undecoded == 0


async def test_states_that_were_dropped_are_told_to_the_other_nodes(redis_process: Start, make_cluster: MakeCluster) -> None:
    """They ask for them again, once Redis takes messages again and every node knows what a notice is."""
    cluster = make_cluster(server := redis_process(), tuning=replace(TUNING, max_pending=20, liveness_s=30, notice_s=0.05))
    told: list[Gap] = []
    cluster.b.journal.on_gap = told.append  # type: ignore[method-assign, assignment]
    state = Topic("t", "", "/s")
    await cluster.b.bus.subscribe([state], positions=False)
    nodes = Known((2, 3), (2,))
    cluster.a.bus.follow(nodes)  # type: ignore[arg-type]
    server.stall()
    for number in range(30):
        cluster.a.bus.publish(Envelope(state, DeliveryClass.STATE, b"%d" % number))
    server.wake()
    await cluster.settle()
    assert cluster.a.bus.counters.overloaded == 10
    assert told == []
    nodes.know((2, 3), (2, 3))
    await until(lambda: told == [Gap("t")])
    await cluster.settle()
    assert (cluster.a.bus.counters.notices, cluster.b.bus.counters.noticed) == (1, 1)
    # events that were dropped are not told: nothing could bring them back
    server.stall()
    for number in range(30):
        cluster.a.bus.publish(Envelope(state, DeliveryClass.EVENT, b"%d" % number))
    server.wake()
    await cluster.settle()
    await asyncio.sleep(0.2)
    assert cluster.a.bus.counters.notices == 1


async def test_a_subscription_is_in_force_from_its_position_while_others_publish(redis_process: Start, make_cluster: MakeCluster) -> None:
    """No message between the position that is told and the first one that comes is missing."""
    cluster = make_cluster(redis_process())
    ended = asyncio.Event()
    work = [asyncio.ensure_future(cluster.a.load(ended, topic)) for topic in TOPICS]
    in_force: list[tuple[int, int]] = []
    for _ in range(100):
        confirmed = await cluster.b.bus.subscribe([TOPICS[0]], positions=True)
        position = confirmed[TOPICS[0]]
        await asyncio.sleep(0.005)
        cluster.b.bus.unsubscribe([TOPICS[0]])
        in_force.append((position, cluster.b.journal.newest))
    ended.set()
    await asyncio.gather(*work)
    in_log = [position for position, topic in (await cluster.in_log()).items() if topic == TOPICS[0]]
    heard = set(cluster.b.journal.positions)
    for begin, end in in_force:
        assert [p for p in in_log if begin < p <= end and p not in heard] == []
    assert all(left < right for left, right in itertools.pairwise(cluster.b.journal.positions))
