"""The forms of ``redis_url``, and where keys lie: on one server, on several, in the slots of a Cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from hub.core.message import Topic
from hub.eventlog.channel_log import Span
from hub.eventlog.channel_log_redis import RedisChannelLog
from hub.ops.settings import SettingsError, split_urls
from hub.redis.cluster import ClusterServers, slot_of
from hub.redis.commands import RedisUnavailableError, ServerCommands
from hub.redis.names import Names
from hub.redis.server import UnusableRedisError
from hub.redis.servers import SpreadServers, tag_of
from hub.redis.urls import name_of, open_servers
from tests.hub.ops.test_settings import settings
from tests.support.redis_server import RedisServer, free_port, persistence
from tests.support.redis_topologies import ClusterServer, WatchedRedis

Start = Callable[..., RedisServer]
Shared = Callable[[str], RedisServer]


# -- URLs -----------------------------------------------------------------------------------------------------------------


def test_several_urls_are_separated_by_commas_though_hosts_are_too() -> None:
    text = "redis+sentinel://a:1,b:2/m, redis://c:3 ,unix:///run/r.sock"
    assert split_urls(text) == ["redis+sentinel://a:1,b:2/m", "redis://c:3", "unix:///run/r.sock"]
    assert settings(redis_url=split_urls(text)).redis_url == "redis+sentinel://a:1,b:2/m,redis://c:3,unix:///run/r.sock"
    with pytest.raises(SettingsError, match="redis_url: expected a URL such as"):
        settings(redis_url="redis://a,sentinel://b")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sentinel://a", "expected a URL such as redis://host:6379"),
        ("redis+sentinel://a:26379", "expected the name of the master behind the hosts"),
        ("redis+sentinel://a,/m", "expected hosts such as host:26379, separated by commas, got ''"),
        ("redis+sentinel://a/m?sentinel_db=1", "expected sentinel_username, sentinel_password or sentinel_ssl, got sentinel_db"),
        ("redis+sentinel://a/m?sentinel_ssl=perhaps", "expected true or false for sentinel_ssl, got perhaps"),
        ("redis+cluster://a/1", "expected no database, or 0, in the URL of a Redis Cluster, got 1"),
        ("redis://a/abc", "expected the number of a database behind the host, such as redis://host:6379/0, got 'abc'"),
        ("redis://ana/geheim@a", "expected the number of a database behind the host, such as redis://host:6379/0, got '[hidden]@a'"),
        ("redis+cluster://ana/geheim@a", "expected no database, or 0, in the URL of a Redis Cluster, got [hidden]@a"),
        ("redis://a/-1", "expected the number of a database behind the host"),
        ("redis+sentinel://a/m/abc", "expected the number of a database behind the host"),
        ("redis://a:65536", "expected a port from 0 to 65535 behind a, got 65536"),
        ("redis+cluster://a,b:99999", "expected a port from 0 to 65535 behind b, got 99999"),
        ("redis://a:geheim/0", "expected a port from 0 to 65535 behind a, got 6 characters of which some are no digits"),
        ("unix://?db=1", "expected the path of a socket such as unix:///run/redis.sock, got none"),
        ("rediss://a?ssl_ca_certs=/none.pem", "expected a path that this user can read as ssl_ca_certs, got /none.pem"),
        ("rediss+sentinel://a/m?ssl_certfile=/none.pem", "expected a path that this user can read as ssl_certfile, got /none.pem"),
        ("rediss://a?ssl_cert_reqs=perhaps", "expected arguments ssl_... that can be used, got: "),
    ],
)
def test_a_url_that_says_too_little(url: str, expected: str) -> None:
    with pytest.raises(ValueError, match="expected") as refused:
        open_servers([url])
    assert str(refused.value).startswith(expected)


def test_durability_is_nothing_that_sentinels_and_clusters_have() -> None:
    for url in ("redis+sentinel://a/m", "redis+cluster://a"):
        with pytest.raises(ValueError, match="expected redis_durable auto or no with Sentinels or a Cluster, got yes"):
            open_servers([url], "yes")


async def test_credentials_and_tls_of_masters_and_of_sentinels() -> None:
    servers = open_servers(["rediss+sentinel://ann:s%3Acret@a:1,b/m/3?sentinel_username=eve&sentinel_password=p%40&ssl_cert_reqs=none"])
    assert isinstance(servers, ServerCommands)
    endpoint = servers.endpoint
    master, sentinel = endpoint._access.at("x", 5), endpoint._sentinels.at("a", 1)  # type: ignore[attr-defined]
    assert (master.host, master.port, master.username, master.password, master.tls is None) == ("x", 5, "ann", "s:cret", False)
    assert (sentinel.username, sentinel.password, sentinel.tls is None) == ("eve", "p@", False)
    assert endpoint._hosts == [("a", 1), ("b", 26379)]  # type: ignore[attr-defined]
    assert endpoint.connection(master, 1).db == 3  # type: ignore[attr-defined]
    plain = open_servers(["rediss+sentinel://a/m?sentinel_ssl=false"])
    assert plain.endpoint._sentinels.at("a", 1).tls is None  # type: ignore[attr-defined]
    cluster = open_servers(["rediss+cluster://:pw@a:7000,[::1]:7001"])
    assert isinstance(cluster, ClusterServers)
    assert cluster._seeds == [("a", 7000), ("::1", 7001)]
    assert cluster._access.at("a", 1).password == "pw"
    assert cluster._access.at("a", 1).tls is not None


# -- where a key lies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "tag"), [(b"a{b}c", b"b"), (b"a{}b", b"a{}b"), (b"a{b", b"a{b"), (b"{a}{b}", b"a"), (b"a", b"a"), (b"a{{b}}", b"{b")]
)
def test_what_decides_where_a_key_lies(key: bytes, tag: bytes) -> None:
    """The examples of the Redis Cluster specification, "hash tags"."""
    assert tag_of(key) == tag


def test_slots_are_those_of_a_cluster(shared_redis: Shared) -> None:
    server = shared_redis("cluster")
    for key in (b"123456789", b"hub:{acme}:m", b"{}x", b"foo{bar}{zap}", b"hub:{t%7D}:c::/a"):
        assert server.ask("CLUSTER", "KEYSLOT", key) == slot_of(key)


def spread(*names: str) -> tuple[SpreadServers, dict[str, ServerCommands]]:
    members = {name: open_servers([name]) for name in names}
    return SpreadServers(list(members.items())), members  # type: ignore[return-value]


def test_a_server_that_is_added_moves_no_other_tenants_than_its_own() -> None:
    names = Names("hub")
    keys = [names.of(f"tenant-{number}").meta for number in range(300)]
    two, of_two = spread("redis://a", "redis://b")
    three, of_three = spread("redis://c", "redis://b", "redis://a")
    names_of_two = {server: name for name, server in of_two.items()}
    names_of_three = {server: name for name, server in of_three.items()}
    moved = 0
    for key in keys:
        before, after = names_of_two[two.home(key)], names_of_three[three.home(key)]  # type: ignore[index]
        assert after in {before, "redis://c"}
        moved += after != before
    assert 60 < moved < 140
    assert all(two.home(key.replace(b":m", b":l")) is two.home(key) for key in keys)


def test_the_name_of_a_server_is_without_credentials_and_order() -> None:
    assert name_of("redis+cluster://ann:x@b:2,a:1?ssl_cert_reqs=none") == name_of("redis+cluster://a:1,b:2")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("redis://h", "redis://h:6379/0"),
        ("redis://h/", "redis://H:6379"),
        ("redis://ann:x@h", "redis://h/0?ssl_cert_reqs=none"),
        ("redis://h/2", "redis://h:6379?db=2"),
        ("redis://[::1]", "redis://[::1]:6379/0"),
        ("rediss://h", "rediss://h:6379/0"),
        ("redis+cluster://a,b:7000", "redis+cluster://b:7000,a:6379/0"),
        ("redis+sentinel://a,b/mymaster", "redis+sentinel://b:26379,a:26379/mymaster/0"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
    ],
)
def test_what_may_be_left_out_of_a_url_is_part_of_no_name(one: str, other: str) -> None:
    assert name_of(one) == name_of(other)


def test_servers_that_differ_have_names_that_differ() -> None:
    urls = [
        "redis://h",
        "redis://h:6380",
        "redis://h/1",
        "redis://i",
        "rediss://h",
        "unix:///h",
        "redis+cluster://h",
        "redis+sentinel://h/m",
    ]
    urls += ["redis+sentinel://h/m/1", "redis+sentinel://h/n"]
    assert len({name_of(url) for url in urls}) == len(urls)


# -- a Cluster ------------------------------------------------------------------------------------------------------------


async def test_commands_find_the_master(shared_redis: Shared) -> None:
    servers = open_servers([shared_redis("cluster").url])
    assert servers.all() == []
    assert servers.home(b"a") is None
    await servers.of(b"a:{x}").call("SET", "a:{x}", "1")
    assert await servers.of(b"b:{x}").call("GET", "a:{x}") == b"1"
    assert len(servers.all()) == 1
    await servers.close()


async def test_nobody_of_a_cluster_answers() -> None:
    servers = ClusterServers(ClusterServer.access(), [("127.0.0.1", free_port())], timeout_s=0.2)
    with pytest.raises(RedisUnavailableError, match="no master"):
        await servers.of(b"a").call("GET", "a")
    await servers.close()


async def test_a_server_without_slots_is_no_cluster(redis_process: Start) -> None:
    server = redis_process("redis", port=free_port())
    servers = open_servers([f"redis+cluster://127.0.0.1:{server.port}"])
    with pytest.raises(UnusableRedisError, match=r"expected a server of a Redis Cluster at .* got one without: name it by redis://"):
        await servers.refresh()
    await servers.close()


async def test_a_server_of_a_cluster_is_refused_as_one_server(shared_redis: Shared) -> None:
    servers = open_servers([f"redis://127.0.0.1:{shared_redis('cluster').port}"])
    (server,) = servers.all()
    assert "name it by redis+cluster://" in (await server.look()).problems()[0]
    await servers.close()


# -- Sentinels ------------------------------------------------------------------------------------------------------------


async def test_the_sentinel_that_answers_is_asked_first(shared_redis: Shared) -> None:
    watched = shared_redis("sentinel")
    assert isinstance(watched, WatchedRedis)
    (sentinel,) = watched.sentinels
    servers = open_servers([f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}/mymaster"])
    (server,) = servers.all()
    assert (await server.endpoint.address(1)).port == watched.port
    assert server.endpoint._hosts[0] == ("127.0.0.1", sentinel.port)  # type: ignore[attr-defined]
    assert not (await server.look()).durable
    await servers.close()


async def test_sentinels_that_do_not_know_the_master_are_told(shared_redis: Shared) -> None:
    servers = open_servers([shared_redis("sentinel").url.replace("mymaster", "other") + "?sentinel_ssl=false"])
    with pytest.raises(RedisUnavailableError, match=r"no Sentinel names a master: .* no master named other"):
        await servers.of(b"a").call("PING")
    await servers.close()
    silent = open_servers([f"redis+sentinel://127.0.0.1:{free_port()}/m"])
    with pytest.raises(RedisUnavailableError):
        await asyncio.wait_for(silent.of(b"a").call("PING"), 5)
    await silent.close()


# -- a list that changes --------------------------------------------------------------------------------------------------


async def test_a_tenant_that_is_moved_begins_above_and_is_no_more_recovered_also_when_it_comes_back(redis_process: Start) -> None:
    """Both servers keep everything: nothing else would say that the log went on elsewhere meanwhile."""
    a, b = (redis_process("redis", *persistence("always")) for _ in range(2))
    names = Names("hub")
    urls = [a.url, b.url]
    lists = {name: open_servers(list(of)) for name, of in {"both": urls, "a": urls[:1], "b": urls[1:]}.items()}
    both = lists["both"]
    tenant = next(name for number in range(100) if both.home(names.of(name := f"t{number}").meta) is both.all()[1])

    async def era(name: str) -> tuple[int, Span]:
        """A hub with this list: it starts, keeps a message."""
        log = RedisChannelLog(lists[name], names)
        await log.gather()
        before = await log.span(tenant)
        appended = await log.append(Topic(tenant, "", "/a"), b"1", b"")
        assert appended is not None
        await log.trim()
        return appended[0], before

    try:
        first, _ = await era("both")
        second, span = await era("both")  # nothing has changed
        assert span.floor <= first <= span.newest
        assert span.seam == 0
        third, span = await era("a")
        assert third > second
        assert span.floor > second
        fourth, span = await era("both")  # back on b, where the log of the beginning lies
        assert fourth > third
        assert span.seam > third
        fifth, span = await era("both")
        assert span.seam <= fourth <= span.newest
        assert fifth > fourth
    finally:
        for servers in lists.values():
            await servers.close()
