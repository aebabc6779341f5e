"""What secure e-mail puts into a hub: the REST API of its mailboxes, the publisher of their interactions, and the retention job."""

from channels.events import EVENT_SINK
from channels.secure_email.publisher import InteractionPublisher
from channels.secure_email.retention import RetentionJob
from channels.secure_email.routes import Routes
from channels.secure_email.service import MailService
from channels.secure_email.settings import SecureEmailSettings
from hub.family import Context, Parts
from hub.outbox.models import ROLE


def build(context: Context) -> Parts:
    """The parts of the family, for one hub."""
    settings: SecureEmailSettings = context.section("secure_email")
    mails = MailService(transactions=context.transactions, outbox=context.outbox, clock=context.clock)
    publisher = InteractionPublisher(lambda: context.of_role(EVENT_SINK)[0], context.clock)
    routers, elsewhere = Routes(mails, settings, context.hosts).routers()
    counters = {"secure_email": mails.counters, "secure_email_interactions": publisher.counters}
    return Parts(
        routers=routers,
        routes=elsewhere,
        services=[RetentionJob(context.transactions, context.clock, settings, mails.counters)],
        roles={ROLE: publisher, "counters": counters},
    )
