"""What messaging puts into a hub: three REST APIs, the channel of messages' states, and the retention job."""

from pathlib import Path

from channels.messaging import routes_channels, routes_messages, routes_third_party
from channels.messaging.counters import Counters
from channels.messaging.errors import register_errors
from channels.messaging.media_links import MediaLinks
from channels.messaging.media_store import PREFIX, MediaStore
from channels.messaging.message_status import StatusWriter
from channels.messaging.publisher import MessagePublisher
from channels.messaging.retention import MessagingRetention
from channels.messaging.service_channels import ChannelService
from channels.messaging.service_inbound import InboundService
from channels.messaging.service_media import MediaService
from channels.messaging.service_outbound import OutboundService
from channels.messaging.settings import MessagingSettings
from channels.messaging.signature import Signatures
from channels.messaging.spool import Spool
from hub.core.delivery import ChannelDeclaration, DeliveryClass
from hub.core.metric import Gauge
from hub.family import Context, Parts
from hub.objects.local import LocalStore
from hub.objects.ports import OBJECT_STORE
from hub.outbox.administration import EndpointTerms
from hub.outbox.guard import Guard
from hub.security.secret import signing_secret

CHANNELS = "/nexus/v3/channels/**"
"""The states of messages are published here, each channel's on ``/nexus/v3/channels/{channelId}/messages``
(docs/protocol/messaging.md#states).
"""


def build(context: Context) -> Parts:
    """The parts of the family, for one hub."""
    register_errors(context.errors)
    settings = context.section("messaging", MessagingSettings)
    transactions, clock, outbox = context.transactions, context.clock, context.outbox
    counters = Counters()
    media_dir = settings.media_dir or context.settings.data_dir / "media"
    objects = _media_store(context, media_dir)
    spool = Spool(
        media_dir,
        max_bytes=settings.spool_bytes,
        max_bytes_of_channel=settings.spool_channel_bytes,
        min_bytes_per_s=settings.spool_min_bytes_per_s,
        counters=counters,
    )
    links = MediaLinks(signing_secret(context.settings), clock, settings.media_link_hours)
    status = StatusWriter(outbox, clock, settings.event_bytes)
    media = MediaService(transactions, objects, settings, clock, counters)
    webhooks = context.settings.outbox
    guard = Guard(webhooks.allowed_networks, webhooks.https_only)
    service = ChannelService(EndpointTerms(guard, clock, webhooks, outbox.save_endpoint, outbox.remove_endpoint), settings.max_channels)
    return Parts(
        routers=[
            routes_third_party.create_router(
                signatures=Signatures(transactions, spool, clock, counters),
                inbox=InboundService(transactions, status, clock, counters),
                media=media,
                links=links,
                settings=settings,
                counters=counters,
            ),
            routes_channels.create_router(transactions, service),
            routes_messages.create_router(
                transactions=transactions,
                outgoing=OutboundService(transactions, outbox, status, links, clock, counters),
                media=media,
                settings=settings,
                hosts=context.hosts,
            ),
        ],
        channels=[
            ChannelDeclaration(
                CHANNELS, DeliveryClass.LOG, "messages of third-party messaging, and their states", operation="/messaging/read"
            )
        ],
        services=[MessagingRetention(transactions, objects, settings, context.steady_clock, counters)],
        outbox_consumers=[MessagePublisher(context.hub, status, counters)],
        counters={"messaging": counters},
        gauges=[
            Gauge(
                "messaging_spool_bytes",
                "Bytes of bodies of third parties whose requests are not answered yet: at most `messaging.spool_bytes`.",
                lambda: spool.held_bytes,
            )
        ],
        shared_folders={"messaging.media_dir": settings.media_dir} if context.settings.objects.url is None else {},
    )


def _media_store(context: Context, media_dir: Path) -> MediaStore:
    """Where media lie: in the object store that the settings name, else in the folder of media. What that folder holds stays readable."""
    folder = LocalStore(media_dir)
    return MediaStore(folder) if context.settings.objects.url is None else MediaStore(context.one(OBJECT_STORE), PREFIX, folder)
