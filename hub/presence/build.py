"""The parts that presence adds to a hub: the list of sessions by REST, and, if a setting names channels, joins and leaves as events."""

from hub.family import Context, Parts, Service
from hub.presence.announcer import Announcer
from hub.presence.counts import LocalCounts, SessionCounts
from hub.presence.roster import Roster
from hub.presence.routes import create_router
from hub.presence.survey import Survey


def build(context: Context) -> Parts:
    """The API of the sessions of all nodes; the announcer of the channels that ``presence.channels`` names."""
    settings = context.settings.presence
    roster = Roster(context.hub)
    survey = Survey(roster, context.hub.incarnation, context.cluster, timeout_s=settings.survey_s)
    if not settings.channels:
        return Parts(routers=[create_router(survey)])
    counts, services = _counts(context, roster)
    # made after the roster, so that the roster is updated first
    announcer = Announcer(context.hub, roster, settings.channels, events_per_second=settings.events_per_second, counts=counts)
    return Parts(routers=[create_router(survey)], counters={"presence": announcer.counters}, services=services)


def _counts(context: Context, roster: Roster) -> tuple[SessionCounts, list[Service]]:
    """The numbers of sessions of all nodes, and the service that keeps them."""
    if context.redis is None or context.cluster is None:
        return LocalCounts(), []
    from hub.presence.counts_redis import RedisCounts  # imported here: the client of Redis takes time to load

    counts = RedisCounts(context.redis, context.cluster.nodes, lambda: roster.tenants)
    return counts, [counts]
