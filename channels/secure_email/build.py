"""What secure e-mail puts into a hub: the REST API of its mailboxes, the publisher of their interactions, and the retention job."""

from channels.events import EVENT_SINK
from channels.secure_email.attachment_store import PREFIX, AttachmentStore
from channels.secure_email.errors import register_errors
from channels.secure_email.moves import AttachmentMoves
from channels.secure_email.publisher import InteractionPublisher
from channels.secure_email.retention import MailRetention
from channels.secure_email.routes import create_fallback, create_reply_router, create_router
from channels.secure_email.service import MailService
from channels.secure_email.settings import SecureEmailSettings
from hub.family import Context, Parts
from hub.objects.folder import ObjectFolder
from hub.objects.ports import OBJECT_STORE
from hub.ops.settings import Settings
from hub.storage.url import DatabaseUrl


def build(context: Context) -> Parts:
    """The parts of the family, for one hub."""
    register_errors(context.errors)
    settings = context.section("secure_email", SecureEmailSettings)
    folder = ObjectFolder(context.one(OBJECT_STORE), PREFIX)
    to_store = stores_attachments(context.settings)
    attachments = AttachmentStore(folder, takes_new=to_store)
    mails = MailService(transactions=context.transactions, attachments=attachments, outbox=context.outbox, clock=context.clock)
    publisher = InteractionPublisher(lambda: context.one(EVENT_SINK), context.clock)
    router = create_router(mails, settings, context.hosts)
    return Parts(
        routers=[router, create_reply_router(mails, settings, context.hosts)],
        routes=create_fallback(router),
        services=[
            MailRetention(context.transactions, folder, context.steady_clock, settings, mails.counters),
            *([AttachmentMoves(context.transactions, folder, mails.counters)] if to_store else []),
        ],
        outbox_consumers=[publisher],
        counters={"secure_email": mails.counters, "secure_email_interactions": publisher.counters},
    )


def stores_attachments(settings: Settings) -> bool:
    """Whether attachments lie in the object store. Hubs on one PostgreSQL have none in common before ``objects.url`` names one: until then
    their attachments stay in the database, where every hub finds them.
    """
    return settings.objects.url is not None or DatabaseUrl.parse(settings.database).path is not None
