"""The forms of the setting ``redis_url`` (docs/scaling.md#forms-of-redis_url)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from hub.core.secret_names import url_without_secrets
from hub.redis.cluster import ClusterServers
from hub.redis.commands import Durability, ServerCommands
from hub.redis.endpoint import Access, HostPort, SentinelEndpoint, UrlEndpoint
from hub.redis.servers import Servers, SpreadServers

FORMS: Final = (
    "redis://host:6379, rediss://host:6379, unix:///run/redis.sock, redis+sentinel://host:26379,host2:26379/master or "
    "redis+cluster://host:6379,host2:6379"
)
"""What a URL may look like."""

SENTINEL_PORT: Final = 26379
REDIS_PORT: Final = 6379

_SENTINEL: Final = "sentinel_"
"""Begins the arguments of a URL that are for connections to the Sentinels."""


class _Parts(NamedTuple):
    tls: bool
    credentials: str
    hosts: Sequence[HostPort]
    path: str
    arguments: dict[str, str]

    def access(self, database: str = "0") -> Access:
        """How its servers are reached."""
        return _access(
            self.tls, self.credentials, database, {name: value for name, value in self.arguments.items() if not name.startswith(_SENTINEL)}
        )

    def sentinels(self) -> Access:
        """How its Sentinels are reached.

        Raises:
            ValueError: an argument is none of a Sentinel; what was expected.
        """
        given = {name.removeprefix(_SENTINEL): value for name, value in self.arguments.items() if name.startswith(_SENTINEL)}
        if unknown := given.keys() - {"username", "password", "ssl"}:
            raise ValueError(f"expected sentinel_username, sentinel_password or sentinel_ssl, got {_SENTINEL}{min(unknown)}")
        tls = given.get("ssl", str(self.tls).lower())
        if tls not in {"true", "false"}:
            raise ValueError(f"expected true or false for sentinel_ssl, got {tls}")
        who, password = (quote(given.get(name, ""), safe="") for name in ("username", "password"))
        of_tls = {name: value for name, value in self.arguments.items() if name.startswith("ssl_") and tls == "true"}
        return _access(tls == "true", f"{who}:{password}@" if password else "", "0", of_tls)


def _access(tls: bool, credentials: str, database: str, arguments: dict[str, str]) -> Access:
    query = f"?{urlencode(arguments)}" if arguments else ""
    return Access(f"{'rediss' if tls else 'redis'}://{credentials}host/{database}{query}")


def kind_of(url: str) -> str:
    """``server``, ``sentinel`` or ``cluster``.

    Raises:
        ValueError: it is no URL of a Redis.
    """
    scheme = urlsplit(url).scheme
    if scheme in {"redis", "rediss", "unix"}:
        return "server"
    base, _, kind = scheme.partition("+")
    if base not in {"redis", "rediss"} or kind not in {"sentinel", "cluster"}:
        raise ValueError(f"expected a URL such as {FORMS}")
    return kind


def open_servers(urls: Sequence[str], durability: Durability = "auto") -> Servers:
    """The servers of one URL, or of several that share the tenants. Nothing is connected yet.

    Raises:
        ValueError: a text is no URL of a Redis; what was expected.
    """
    if len(urls) == 1:
        return _one(urls[0], durability)
    return SpreadServers([(name_of(url), _one(url, durability)) for url in urls])


def name_of(url: str) -> str:
    """The name by which one of several Redis is chosen for a tenant: its URL without credentials and arguments, with what else may be left
    out of it: the port, and the database. A text that is no such URL is its own name.
    """
    split = urlsplit(url)
    if not split.netloc:  # a Unix socket
        return f"{split.scheme}://{split.path}"
    sentinels = split.scheme.endswith("+sentinel")
    try:
        parts = _parts(url, SENTINEL_PORT if sentinels else REDIS_PORT)
    except ValueError:
        return url
    hosts = ",".join(sorted(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in parts.hosts))
    service, _, database = parts.path.partition("/") if sentinels else ("", "", parts.path)
    database = parts.arguments.get("db") or database or "0"
    return f"{split.scheme}://{hosts}/{service + '/' if sentinels else ''}{database}"


def fingerprint_of(urls: Sequence[str]) -> str:
    """Tells two lists apart between which tenants lie on different servers: the number of the Redis, and a hash of their names. One Redis
    may be called by any name.
    """
    if len(urls) == 1:
        return "1"
    return f"{len(urls)} {hashlib.blake2b(' '.join(sorted(map(name_of, urls))).encode(), digest_size=8).hexdigest()}"


def _one(url: str, durability: Durability) -> Servers:
    kind = kind_of(url)
    if kind == "server":
        _check_server(url)
        return ServerCommands(UrlEndpoint(url), durability=durability)
    if durability == "yes":
        raise ValueError("expected redis_durable auto or no with Sentinels or a Cluster, got yes: a replica is promoted with what it has")
    if kind == "cluster":
        return _cluster(_parts(url, REDIS_PORT))
    return ServerCommands(_sentinel(_parts(url, SENTINEL_PORT)))


def _check_server(url: str) -> None:
    """Refuse what redis-py would leave out without a word."""
    split = urlsplit(url)
    if split.scheme == "unix":
        if split.path in {"", "/"}:
            raise ValueError("expected the path of a socket such as unix:///run/redis.sock, got none")
        return
    _check_port(split)
    _check_database(split.path.strip("/"))


def _check_database(text: str) -> None:
    if text and not (text.isascii() and text.isdigit()):
        raise ValueError(
            f"expected the number of a database behind the host, such as redis://host:6379/0, got {url_without_secrets(text)!r}"
        )


def _check_port(split: SplitResult) -> int | None:
    """The port of a host, None without one."""
    try:
        return split.port
    except ValueError:
        text = split.netloc.rpartition("@")[2].rpartition(":")[2]
        # what is no number is not shown: if the @ is missing, it is the password
        got = text if text.isdigit() else f"{len(text)} characters of which some are no digits"
        raise ValueError(f"expected a port from 0 to 65535 behind {split.hostname}, got {got}") from None


def _cluster(parts: _Parts) -> ClusterServers:
    if parts.path not in {"", "0"}:
        raise ValueError(f"expected no database, or 0, in the URL of a Redis Cluster, got {url_without_secrets(parts.path)}")
    return ClusterServers(parts.access(), parts.hosts)


def _sentinel(parts: _Parts) -> SentinelEndpoint:
    service, _, database = parts.path.partition("/")
    if not service:
        raise ValueError("expected the name of the master behind the hosts, such as redis+sentinel://host:26379/mymaster")
    _check_database(database)
    return SentinelEndpoint(parts.access(database or "0"), parts.hosts, unquote(service), parts.sentinels())


def _parts(url: str, port: int) -> _Parts:
    split = urlsplit(url)
    credentials, at, hosts = split.netloc.rpartition("@")
    return _Parts(
        split.scheme.startswith("rediss"),
        credentials + at,
        [_host(host, port) for host in hosts.split(",")],
        split.path.strip("/"),
        dict(parse_qsl(split.query)),
    )


def _host(text: str, port: int) -> HostPort:
    split = urlsplit(f"//{text}")
    if not split.hostname:
        raise ValueError(f"expected hosts such as host:{port}, separated by commas, got {text!r}")
    return split.hostname, _check_port(split) or port
