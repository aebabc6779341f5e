"""TLS to one server, to a master that a Sentinel names and to the Sentinel itself, and to a Cluster, with a certificate of the test's own:
the connections for commands, and those by which a node hears, check it.
"""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
import redis

from hub.bus.interface import Envelope
from hub.core.delivery import DeliveryClass
from hub.core.message import Topic
from hub.redis.cluster import ClusterServers
from hub.redis.commands import RedisUnavailableError
from hub.redis.names import Names
from hub.redis.servers import Servers
from hub.redis.urls import open_servers
from tests.hub.bus.backends import until
from tests.hub.bus.redis.cluster import Node
from tests.support.proxies import make_certificate
from tests.support.redis_server import READY_WITHIN_S, RedisServer, free_port, program
from tests.support.redis_topologies import MASTER, SLOTS

TOPIC, EVENT = Topic("t", "", "/log/a"), Topic("t", "", "/event/a")


class Secured(NamedTuple):
    """A server that speaks TLS alone, and the form of ``redis_url`` by which it is reached, without the arguments."""

    url: str
    certificate: Path

    @property
    def arguments(self) -> str:
        return f"?ssl_ca_certs={quote(str(self.certificate))}"


def until_ready(reached: Callable[[], object]) -> None:
    end = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            if reached():
                return
        except redis.RedisError:
            pass  # not ready yet
        assert time.monotonic() < end, "the servers did not come together"
        time.sleep(0.02)


@pytest.fixture(params=["server", "sentinel", "cluster"])
def secured(request: pytest.FixtureRequest, redis_process: Callable[..., RedisServer], tmp_path: Path) -> Iterator[Secured]:
    certificate, key = make_certificate(tmp_path)
    port = free_port()
    tls = ["tls-cert-file", str(certificate), "tls-key-file", str(key), "tls-ca-cert-file", str(certificate), "tls-auth-clients", "no"]
    options = [f"--{word}" if number % 2 == 0 else word for number, word in enumerate([*tls, "tls-port", str(port)])]
    if request.param == "cluster":
        options += ["--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--tls-cluster", "yes"]
    server = redis_process("redis", *options, "--tls-replication", "yes")
    if request.param == "server":
        yield Secured(f"rediss://localhost:{port}", certificate)
    elif request.param == "cluster":
        server.ask("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
        server.ask("CONFIG", "SET", "cluster-announce-ip", "127.0.0.1")
        until_ready(lambda: "ok" in str(server.ask("CLUSTER", "INFO")))
        yield Secured(f"rediss+cluster://localhost:{port}", certificate)
    else:
        sentinel_port = free_port()
        lines = [f"{name} {value}" for name, value in zip(tls[::2], tls[1::2], strict=True)]
        configuration = tmp_path / "sentinel.conf"
        configuration.write_text(
            "\n".join(
                [
                    *lines,
                    f"port 0\ntls-port {sentinel_port}\nbind 127.0.0.1\ndir {tmp_path}\ntls-replication yes\nlogfile {tmp_path / 'log'}",
                    f"sentinel monitor {MASTER} 127.0.0.1 {port} 1\n",
                ]
            )
        )
        process = subprocess.Popen(
            [str(program("redis")), str(configuration), "--sentinel"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            client = redis.Redis(host="localhost", port=sentinel_port, ssl=True, ssl_ca_certs=str(certificate))
            until_ready(client.ping)
            client.close()
            yield Secured(f"rediss+sentinel://localhost:{sentinel_port}/{MASTER}", certificate)
        finally:
            process.terminate()
            process.wait(10)


def servers(secured: Secured, arguments: str = "") -> Servers:
    return open_servers([f"{secured.url}{arguments or secured.arguments}"])


async def until_closed() -> None:
    """Return when no socket is open: over TLS a connection that was closed says goodbye to the other side first."""
    loop: Any = asyncio.get_running_loop()
    await until(lambda: len(loop._selector.get_map()) == 1)  # the loop's own pipe is left


async def test_nodes_hear_each_other_over_tls(secured: Secured) -> None:
    names = Names("tls")
    a, b = Node(servers(secured), names, "a"), Node(servers(secured), names, "b")
    try:
        await b.servers.refresh()
        await b.bus.subscribe([TOPIC, EVENT], positions=True)
        position = await a.append(TOPIC)
        a.bus.publish(Envelope(EVENT, DeliveryClass.EVENT, b"1"))
        await until(lambda: b.journal.positions == [position] and b.journal.events == [b"1"])
        assert {server.endpoint.fixed for server in b.servers.all()} == {secured.url.startswith("rediss://")}
    finally:
        await a.close()
        await b.close()
        await until_closed()


async def test_a_certificate_of_a_stranger_is_refused(secured: Secured) -> None:
    stranger = secured.certificate.parent / "stranger"
    stranger.mkdir()
    other, _ = make_certificate(stranger)
    unknown = servers(secured, f"?ssl_ca_certs={quote(str(other))}")
    try:
        with pytest.raises(RedisUnavailableError, match=r"certificate|Redis Cluster") as refused:
            await unknown.of(b"k:{t}").call("GET", "k:{t}")
        assert "CERTIFICATE_VERIFY_FAILED" in str(refused.value) or "cluster" in secured.url
    finally:
        await unknown.close()
        await until_closed()


@pytest.mark.parametrize("url", ["rediss://localhost", "rediss+sentinel://localhost/main", "rediss+cluster://localhost"])
def test_certificates_are_checked_unless_the_url_says_otherwise(url: str) -> None:
    """By the connections by which a node hears, which are its own, as by those of redis-py."""
    for arguments, mode, checks_name in (
        ("", ssl.CERT_REQUIRED, True),
        ("?ssl_check_hostname=false", ssl.CERT_REQUIRED, False),
        ("?ssl_cert_reqs=none", ssl.CERT_NONE, False),
    ):
        made = open_servers([url + arguments])
        access = made._access if isinstance(made, ClusterServers) else made.endpoint._access  # type: ignore[attr-defined]
        address = access.at("localhost", 1)
        assert address.tls is not None
        assert (address.tls.verify_mode, address.tls.check_hostname) == (mode, checks_name)
        assert access.connection(address, 1.0).ssl_context.get() is address.tls
