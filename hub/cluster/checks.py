"""Whether a node belongs to those that are there: one hub a prefix, one secret, clocks that agree."""

from __future__ import annotations

from collections.abc import Sequence

from hub.cluster.ports import NodeRecord


class MisfitError(Exception):
    """This node does not belong to the nodes that are there: for each problem what was expected, what came, and what to do."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


def misfits(me: NodeRecord, others: Sequence[NodeRecord], prefix: str) -> list[str]:
    """What does not fit, one sentence for each kind; empty: this node belongs to the others."""
    found = []
    for other in others:
        if other.hub != me.hub:
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
    for other in others:
        if me.link and other.link == me.link and (other.machine, other.worker) != (me.machine, me.worker):
            found.append(
                f"link_url: expected one by which other nodes reach this one alone, got {me.link}, which node {_who(other)} has: "
                "give each node its own"
            )
            break
    return found


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


def _who(node: NodeRecord) -> str:
    return f"{node.incarnation} on {node.machine or 'another machine'}"
