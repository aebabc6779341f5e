"""The connections that send commands: what is known of the server, and what happens when it is not there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from hub.redis.commands import RedisRefusedError, RedisUnavailableError, ServerCommands
from hub.redis.endpoint import Address, UrlEndpoint
from hub.redis.scripts import Scripts
from hub.redis.server import ServerInfo
from tests.support.redis_server import RedisServer, free_port, persistence

Start = Callable[..., RedisServer]

FORGOT = "redis_version:6.2.1\r\nrun_id:abc\r\nrole:master\r\nmaxmemory_policy:allkeys-lru\r\n"


def test_a_url_says_where_and_as_whom() -> None:
    endpoint = UrlEndpoint("redis://ann:s%3Acret@redis.example.com:6380/0")
    assert asyncio.run(endpoint.address()) == Address("redis.example.com", 6380, "", None, "ann", "s:cret")
    assert asyncio.run(UrlEndpoint("unix:///run/redis.sock").address()).path == "/run/redis.sock"
    assert asyncio.run(UrlEndpoint("rediss://redis.example.com").address()).tls is not None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis_version:7.0.15\r\nmaxmemory_policy:noeviction\r\n", []),
        ("redis_version:6.2.14\r\n", ["redis_url: expected Redis 7.0 or later, got 6.2.14"]),
        ("redis_version:7.2.4\r\nvalkey_version:9.1.2\r\n", []),
        ("redis_version:7.2.4\r\nvalkey_version:7.0.1\r\n", ["redis_url: expected Valkey 7.2 or later, got 7.0.1"]),
    ],
)
def test_a_server_that_is_too_old(text: str, expected: list[str]) -> None:
    assert ServerInfo.of(text.encode()).problems() == expected


def test_a_server_that_evicts() -> None:
    old, evicts = ServerInfo.of(FORGOT.encode()).problems()
    assert "6.2.1" in old
    assert "maxmemory-policy allkeys-lru: set it to noeviction" in evicts


@pytest.mark.parametrize(("kept", "durable"), [("none", False), ("everysec", False), ("always", True)])
async def test_what_a_server_keeps(redis_process: Start, kept: str, durable: bool) -> None:
    server = redis_process("redis", *persistence(kept))
    for setting, expected in (("auto", durable), ("yes", True), ("no", False)):
        commands = ServerCommands(UrlEndpoint(server.url), durability=setting)  # type: ignore[arg-type]
        assert (await commands.look()).durable == expected
        await commands.close()


async def test_a_server_that_does_not_tell_its_configuration_is_not_durable(redis_process: Start) -> None:
    server = redis_process("redis", *persistence("always"), "--rename-command", "CONFIG", "")
    commands = ServerCommands(UrlEndpoint(server.url))
    assert not (await commands.look()).durable
    await commands.close()


async def test_nobody_there() -> None:
    commands = ServerCommands(UrlEndpoint(f"redis://127.0.0.1:{free_port()}"))
    with pytest.raises(RedisUnavailableError):
        await commands.call("PING")


async def test_a_server_that_stalls_is_told_within_the_time(redis_process: Start) -> None:
    server = redis_process()
    commands = ServerCommands(UrlEndpoint(server.url), timeout_s=0.3)
    await commands.call("PING")
    server.stall()
    begin = asyncio.get_running_loop().time()
    with pytest.raises(RedisUnavailableError):
        await commands.call("PING")
    assert asyncio.get_running_loop().time() - begin < 2
    server.wake()
    assert await commands.call("PING") == b"PONG"
    await commands.close()


async def test_after_a_restart_the_next_call_reaches_the_new_server(redis_process: Start) -> None:
    server = redis_process()
    commands = ServerCommands(UrlEndpoint(server.url))
    first = (await commands.look()).run
    await asyncio.gather(*(commands.call("PING") for _ in range(5)))
    server.kill()
    server.start()
    assert await commands.run(Scripts().claim, [b"m"], lambda it: [1] if it.run != first else [2]) == b"1"
    await commands.close()


@pytest.mark.parametrize("kind", ["redis", "valkey"])
async def test_a_server_that_reads_its_files_is_not_asked_whether_it_keeps_what_it_acknowledges(redis_process: Start, kind: str) -> None:
    server = redis_process(kind, *persistence("always"), "--key-load-delay", "400")
    commands = ServerCommands(UrlEndpoint(server.url), timeout_s=30)
    await commands.call("EVAL", "for _ = 1, 8000 do redis.call('INCR', 'n') end", "0")  # it answers once in 1024 commands that it reads
    server.kill()
    starting = asyncio.create_task(asyncio.to_thread(server.start))
    refused: list[str] = []
    durable: list[bool] = []

    def note(asked: ServerInfo) -> list[int]:
        durable.append(asked.durable)
        return [1]

    while True:
        try:
            await commands.run(Scripts().claim, [b"m"], note)
        except RedisUnavailableError as error:
            refused.append(str(error))
            await asyncio.sleep(0.01)
        else:
            break
    assert all(durable)
    assert "Redis reads what it kept" in refused
    await starting
    assert await commands.call("GET", "n") == b"8000"
    await commands.close()


async def test_a_replica_takes_no_writes(redis_process: Start) -> None:
    server = redis_process(port=free_port())
    commands = ServerCommands(UrlEndpoint(server.url))
    await commands.call("SET", "a", "1")
    server.ask("REPLICAOF", "127.0.0.1", str(free_port()))
    with pytest.raises(RedisUnavailableError, match="read only"):
        await commands.call("SET", "a", "2")
    with pytest.raises(RedisUnavailableError, match="expected a master"):
        await commands.call("PING")
    server.ask("REPLICAOF", "NO", "ONE")
    assert await commands.call("SET", "a", "2") == b"OK"
    await commands.close()


async def test_an_error_leaves_the_connection(shared_redis: Callable[[str], RedisServer]) -> None:
    commands = ServerCommands(UrlEndpoint(shared_redis("redis").url))
    for _ in range(3):
        with pytest.raises(RedisRefusedError, match="unknown command"):
            await commands.call("NONSENSE")
    assert commands.connects == 1
    await commands.close()
    with pytest.raises(RedisUnavailableError, match="closed"):
        await commands.call("PING")


async def test_a_call_that_is_given_up_does_not_leave_its_answer_to_the_next(redis_process: Start) -> None:
    server = redis_process()
    commands = ServerCommands(UrlEndpoint(server.url))
    await commands.call("SET", "a", "1")
    waiting = asyncio.ensure_future(commands.call("BLPOP", "never", "0"))
    await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert await commands.call("GET", "a") == b"1"
    await commands.close()


async def test_calls_beyond_the_connections_wait(redis_process: Start) -> None:
    server = redis_process()
    commands = ServerCommands(UrlEndpoint(server.url), max_connections=2)
    assert await asyncio.gather(*(commands.call("ECHO", str(number)) for number in range(20))) == [b"%d" % n for n in range(20)]
    assert commands.connects == 2
    await commands.close()
