"""Checks of the nodes of a hub: who lives, whether this one fits them, whether it can reach them, and who owns which tenant."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from websockets.asyncio.client import connect, unix_connect
from websockets.exceptions import WebSocketException

from hub import __version__
from hub.cluster.checks import folder_problem, misfits
from hub.cluster.folders import known_id
from hub.cluster.link.address import parse_url
from hub.cluster.link.certificates import Certificates
from hub.cluster.link.hello import fingerprint
from hub.cluster.ports import NodeRecord
from hub.cluster.registry import machine_name, registry_keys
from hub.doctor.inspection import Finding, Inspection, Level
from hub.ops.settings import Settings, split_urls
from hub.redis.commands import Commands, RedisRefusedError, RedisUnavailableError
from hub.redis.server import UnusableRedisError
from hub.redis.servers import SpreadServers
from hub.redis.urls import fingerprint_of, open_servers
from hub.storage.lease import OWNERS as PREFIX
from hub.storage.transactions import StorageError
from hub.storage.url import DatabaseUrl

MAX_NAMED: Final = 20
"""Tenants that are named one by one."""

_LOOK: Final = "see why in the logs of the nodes (tenant_not_opened, owners_not_read), or start a node that may own tenants"

_record: Final = msgspec.json.Decoder(NodeRecord)


def examine(inspection: Inspection) -> Iterable[Finding]:
    """Check the nodes that live, and the owners of tenants. There must be a ``redis_url``. A Redis that does not answer is another check's
    finding.
    """
    settings = inspection.settings
    try:
        nodes = asyncio.run(_live(settings))
    except (RedisUnavailableError, RedisRefusedError, UnusableRedisError, ValueError):
        nodes = None
    if nodes is not None:
        yield from _of_nodes(inspection, nodes)
    if not DatabaseUrl.parse(settings.database).is_sqlite:
        yield from _of_owners(inspection, nodes)


# -- nodes ----------------------------------------------------------------------------------------------------------------


def _of_nodes(inspection: Inspection, nodes: Mapping[str, NodeRecord]) -> Iterator[Finding]:
    settings = inspection.settings
    if not nodes:
        yield Finding(Level.OK, "nodes", f"no node of redis_prefix {settings.redis_prefix} lives now")
        return
    others = list(nodes.values())
    me = _as_this_one(inspection, others)
    for problem in misfits(me, others, settings.redis_prefix):
        yield Finding(Level.PROBLEM, "nodes", f"a node with these settings does not fit: {problem}")
    folder = folder_problem(me, others)
    if folder is not None:
        yield Finding(Level.WARNING, "nodes", folder)
    reached = asyncio.run(_reach_all(settings, others))
    for node, trouble in zip(others, reached, strict=True):
        yield _of_node(node, trouble)
        apart_s = abs(inspection.now_ms - node.clock_ms) / 1000
        if node.clock_ms and apart_s > settings.cluster.clock_s:
            message = f"the clock of {_named(node)} is {apart_s:.0f} s from that of this machine"
            yield Finding(Level.WARNING, "clock", message, "keep both right with NTP")
    versions = sorted({node.version for node in others})
    if len(versions) > 1:
        yield Finding(Level.WARNING, "nodes", f"versions {', '.join(versions)} run side by side", "end the upgrade: restart the older ones")


def _of_node(node: NodeRecord, trouble: str | None) -> Finding:
    what = f"{_named(node)}, version {node.version}, role {node.role}{', which stops now' if node.draining else ''}"
    if not node.link:
        advice = "set link_listen on every node, or on none (docs/scaling.md#nodes-and-links)"
        return Finding(Level.WARNING, "nodes", f"{what}, takes no links: nobody asks it anything", advice)
    if trouble is None:
        return Finding(Level.OK, "nodes", f"{what}, is reached from here at {node.link}")
    advice = "open that port between the nodes, or correct its link_url; where hub doctor runs on a machine without a node, run it on one"
    return Finding(Level.PROBLEM, "nodes", f"{what}, is not reached from here at {node.link}: {trouble}", advice)


def _as_this_one(inspection: Inspection, others: list[NodeRecord]) -> NodeRecord:
    """What a node with these settings would tell of itself. What cannot be known is as the others have it."""
    settings = inspection.settings
    hub = ""
    if not DatabaseUrl.parse(settings.database).is_sqlite:
        try:
            hub = str(inspection.rows("SELECT id FROM hub_identity")[0][0])
        except (StorageError, IndexError):  # of an earlier version, or away: the checks of databases say so
            hub = others[0].hub
    secret = others[0].secret if settings.secret is None else fingerprint(settings.secret.get_secret_value().encode())
    return NodeRecord(
        incarnation="",
        version=__version__,
        hub=hub,
        secret=secret,
        redis=fingerprint_of(split_urls(settings.redis_url or "")),
        folders=_folders(settings, {name for node in others for name in node.folders}),
    )


def _folders(settings: Settings, names: Iterable[str]) -> dict[str, str]:
    """The ids of folders by the settings that name them; those that have none yet, and settings that this version does not know, are left
    out.
    """
    found: dict[str, str] = {}
    for name in names:
        value: Any = settings
        for part in name.split("."):
            value = getattr(value, part, None)
        if value is None:
            found[name] = ""
        elif isinstance(value, Path):
            identifier = known_id(value)
            if identifier is not None:
                found[name] = identifier
    return found


async def _live(settings: Settings) -> dict[str, NodeRecord]:
    """The nodes that live, by incarnation, as Redis knows them; of several Redis, as any of them does."""
    servers = open_servers(split_urls(settings.redis_url or ""))
    keys = registry_keys(settings.redis_prefix)
    try:
        await servers.refresh()
        beside = servers.beside(keys[0]) if isinstance(servers, SpreadServers) else []
        found = await _records(servers.of(keys[0]), keys)
        for commands in beside:
            found |= await _records(commands, keys)
        return found
    finally:
        await servers.close()


async def _records(commands: Commands, keys: tuple[bytes, bytes]) -> dict[str, NodeRecord]:
    seconds, microseconds = await commands.call("TIME")
    now_ms = int(seconds) * 1000 + int(microseconds) // 1000
    records, live = await commands.pipeline(("HGETALL", keys[0]), ("ZRANGEBYSCORE", keys[1], f"({now_ms}", "+inf"))
    known = set(live)
    found: dict[str, NodeRecord] = {}
    for name, raw in zip(records[::2], records[1::2], strict=True):
        if name in known:
            try:
                record = _record.decode(raw)
            except msgspec.MsgspecError:  # of a version that this one cannot read
                continue
            if not record.ended:
                found[record.incarnation] = record
    return found


async def _reach_all(settings: Settings, nodes: list[NodeRecord]) -> list[str | None]:
    return list(await asyncio.gather(*(_reach(settings, node) for node in nodes)))


async def _reach(settings: Settings, node: NodeRecord) -> str | None:
    """Why a node's listener of links cannot be reached from here; None: it can, or the node has none."""
    if not node.link:
        return None
    try:
        address = parse_url(node.link)
        if address.path:
            if node.machine != machine_name():
                return "it is a Unix socket of another machine"
            opened = unix_connect(address.path, address.websocket_url, open_timeout=settings.cluster.dial_s, compression=None)
        else:
            tls = Certificates(ca=settings.link_tls_ca).of_dialler() if address.tls else None
            opened = connect(address.websocket_url, ssl=tls, proxy=None, open_timeout=settings.cluster.dial_s, compression=None)
        async with opened:
            return None
    except ssl.SSLError as error:
        return f"its certificate does not convince (link_tls_ca): {error.reason or error}"
    except TimeoutError:
        return f"no answer within {settings.cluster.dial_s:g} s"
    except (OSError, ValueError, WebSocketException) as error:
        return str(error) or type(error).__name__


# -- owners ---------------------------------------------------------------------------------------------------------------


def _of_owners(inspection: Inspection, nodes: Mapping[str, NodeRecord] | None) -> Iterator[Finding]:
    rows = inspection.rows(
        "SELECT name, owner, fence, extract(epoch FROM until - clock_timestamp())::double precision FROM leases"
        " WHERE starts_with(name, ?) ORDER BY name",
        (PREFIX,),
    )
    owned = 0
    wrong: list[Finding] = []
    for name, owner, number, left_s in rows:
        tenant = name.removeprefix(PREFIX)
        if left_s <= 0:
            since = f"no owner since {-left_s:.0f} s" if owner else "no owner, and had none"
            wrong.append(Finding(Level.WARNING, "owners", f"tenant {tenant} has {since}", _LOOK))
        elif nodes is not None and owner not in nodes:
            message = f"tenant {tenant} is owned by {owner}, which is not among the nodes that live (fence {number})"
            wrong.append(Finding(Level.WARNING, "owners", message, f"another node takes it when its lease ends, in {left_s:.0f} s"))
        else:
            owned += 1
    if nodes is not None and not nodes:
        yield Finding(Level.OK, "owners", f"{len(rows)} tenants were owned; no node runs now")
        return
    yield from wrong[:MAX_NAMED]
    if len(wrong) > MAX_NAMED:
        yield Finding(Level.WARNING, "owners", f"and {len(wrong) - MAX_NAMED} tenants more", _LOOK)
    yield Finding(Level.OK, "owners", f"{owned} of {len(rows)} tenants have an owner that lives")


def _named(node: NodeRecord) -> str:
    worker = "" if node.worker is None else f", worker {node.worker}"
    return f"node {node.incarnation} on {node.machine or 'another machine'}{worker}"
