"""Whether a node belongs to those that are there: one hub a prefix, one secret, clocks that agree."""

from __future__ import annotations

from collections.abc import Sequence

from hub.cluster.ports import UNKNOWN_HUB, NodeRecord


class MisfitError(Exception):
    """This node does not belong to the nodes that are there: for each problem what was expected, what came, and what to do."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


def misfits(me: NodeRecord, others: Sequence[NodeRecord], prefix: str) -> list[str]:
    """What does not fit, one sentence for each kind; empty: this node belongs to the others."""
    found = []
    for other in others:
        if UNKNOWN_HUB not in (me.hub, other.hub) and other.hub != me.hub:
            found.append(
                f"database_url: expected the database of the nodes that share redis_prefix {prefix}, got another one than node "
                f"{_who(other)} has: name the same PostgreSQL on all nodes of a hub, or give this hub a redis_prefix of its own"
            )
            break
    for other in others:
        if other.secret != me.secret:
            found.append(
                f"secret: expected the same HUB_SECRET on all nodes that share redis_prefix {prefix}, got another one than node "
                f"{_who(other)} has: set the same on all, or give this hub a redis_prefix of its own"
            )
            break
    lists = list_problem(me, others)
    if lists is not None:
        found.append(lists)
    for name, mine in sorted(me.folders.items()):
        for other in others:
            theirs = other.folders.get(name)
            if mine and theirs and theirs != mine and not _before(me, other):
                found.append(
                    f"{name}: expected the folder of node {_who(other)}, got one that is another: name a folder that all nodes share, "
                    "such as a mounted volume, so that each finds what another has written"
                )
                break
    for other in others:
        if me.link and other.link == me.link and (other.machine, other.worker) != (me.machine, me.worker):
            found.append(
                f"link_url: expected one by which other nodes reach this one alone, got {me.link}, which node {_who(other)} has: "
                "give each node its own"
            )
            break
    return found


def list_problem(me: NodeRecord, others: Sequence[NodeRecord]) -> str | None:
    """How this node's list of Redis differs from another node's; None: it does not."""
    for other in others:
        if me.redis and other.redis and other.redis != me.redis and not _before(me, other):
            mine, theirs = (record.redis.partition(" ")[0] for record in (me, other))
            which = f"{mine} where that has {theirs}" if mine != theirs else f"{mine}, of which some have other names there"
            return (
                f"redis_url: expected the list of node {_who(other)}, since each list puts tenants on servers of its own, got {which}: "
                "write the same URLs on all nodes, and stop all of them before the list is changed"
            )
    return None


def folder_problem(me: NodeRecord, others: Sequence[NodeRecord]) -> str | None:
    """Which shared folder is set on some nodes alone; None: none. It is so while nodes are restarted with a new setting."""
    for name, mine in sorted(me.folders.items()):
        for other in others:
            theirs = other.folders.get(name)
            if theirs is not None and bool(mine) != bool(theirs):
                without = _who(me if theirs else other)
                return f"{name}: expected the same folder on all nodes, got none on node {without}: set it on all"
    return None


def clock_problem(ahead_s: float | None, allowed_s: float, others_s: Sequence[float] = ()) -> str | None:
    """What is wrong with this node's clock, which is ``ahead_s`` seconds ahead of Redis's, and ``others_s`` ahead of those of other nodes;
    None if it agrees with Redis's and with those of half of them at least.
    """
    if ahead_s is not None and abs(ahead_s) > allowed_s:
        return _of_clock(ahead_s, allowed_s, "Redis's")
    wrong = sorted(each for each in others_s if abs(each) > allowed_s)
    if 2 * len(wrong) > len(others_s):
        return _of_clock(wrong[len(wrong) // 2], allowed_s, "those of the other nodes")
    return None


def _of_clock(ahead_s: float, allowed_s: float, whose: str) -> str:
    which = "ahead of" if ahead_s > 0 else "behind"
    return (
        f"the clock of this machine: expected at most {allowed_s:.0f} s between it and {whose}, got {abs(ahead_s):.0f} s {which} it: "
        "set it (NTP), and that of the machine of Redis"
    )


def _before(me: NodeRecord, other: NodeRecord) -> bool:
    """Whether another node is the process that ran in the place of this one before, whose last word still stands."""
    return bool(me.link) and (other.link, other.machine, other.worker) == (me.link, me.machine, me.worker)


def _who(node: NodeRecord) -> str:
    return f"{node.incarnation} on {node.machine or 'another machine'}"
