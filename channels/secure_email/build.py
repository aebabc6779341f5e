"""What secure e-mail puts into a hub: the mailboxes, their API, and the interactions that they begin."""

from channels.events import EVENT_SINK
from channels.secure_email.announcer import Announcer
from channels.secure_email.api import Calls
from channels.secure_email.mailroom import Mailroom
from channels.secure_email.settings import SecureEmailSettings
from hub.family import Context, Parts
from hub.outbox.models import ROLE


def build(context: Context) -> Parts:
    """The mailboxes, the API, and what announces their interactions."""
    settings: SecureEmailSettings = context.section("secure_email")
    mailroom = Mailroom(transactions=context.transactions, outbox=context.outbox, clock=context.clock, settings=settings)
    announcer = Announcer(lambda: context.of_role(EVENT_SINK)[0], context.clock)
    routers, elsewhere = Calls(mailroom, settings, context.hosts).routers()
    counters = {"secure_email": mailroom.counters, "secure_email_interactions": announcer.counters}
    return Parts(routers=routers, routes=elsewhere, services=[mailroom], roles={ROLE: announcer, "counters": counters})
