"""What secure e-mail puts into a hub: the REST API of its mailboxes, the publisher of their interactions, and the retention job."""

from channels.events import EVENT_SINK
from channels.secure_email.publisher import InteractionPublisher
from channels.secure_email.retention import RetentionJob
from channels.secure_email.routes import Routes
from channels.secure_email.service import MailService
from channels.secure_email.settings import SecureEmailSettings
from hub.family import Context, Parts


def build(context: Context) -> Parts:
    """The parts of the family, for one hub."""
    settings = context.section("secure_email", SecureEmailSettings)
    mails = MailService(transactions=context.transactions, outbox=context.outbox, clock=context.clock)
    publisher = InteractionPublisher(lambda: context.one(EVENT_SINK), context.clock)
    routers, elsewhere = Routes(mails, settings, context.hosts).routers()
    return Parts(
        routers=routers,
        routes=elsewhere,
        services=[RetentionJob(context.transactions, context.clock, settings, mails.counters)],
        outbox_consumers=[publisher],
        counters={"secure_email": mails.counters, "secure_email_interactions": publisher.counters},
    )
