"""What secure e-mail puts into a hub: the REST API of its mailboxes, the publisher of their interactions, and the retention job."""

from channels.events import EVENT_SINK
from channels.secure_email.errors import register_errors
from channels.secure_email.publisher import InteractionPublisher
from channels.secure_email.retention import MailRetention
from channels.secure_email.routes import create_fallback, create_reply_router, create_router
from channels.secure_email.service import MailService
from channels.secure_email.settings import SecureEmailSettings
from hub.family import Context, Parts


def build(context: Context) -> Parts:
    """The parts of the family, for one hub."""
    register_errors(context.errors)
    settings = context.section("secure_email", SecureEmailSettings)
    mails = MailService(transactions=context.transactions, outbox=context.outbox, clock=context.clock)
    publisher = InteractionPublisher(lambda: context.one(EVENT_SINK), context.clock)
    router = create_router(mails, settings, context.hosts)
    return Parts(
        routers=[router, create_reply_router(mails, settings, context.hosts)],
        routes=create_fallback(router),
        services=[MailRetention(context.transactions, context.clock, settings, mails.counters)],
        outbox_consumers=[publisher],
        counters={"secure_email": mails.counters, "secure_email_interactions": publisher.counters},
    )
