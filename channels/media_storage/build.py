"""What media storage puts into a hub: Alvaria's API of object keys, the links of its files, their events, and the retention job."""

from channels.media_storage.arrivals import Arrivals
from channels.media_storage.counters import Counters
from channels.media_storage.errors import register_errors
from channels.media_storage.link_owner import MediaLinkOwner
from channels.media_storage.publisher import MediaPublisher
from channels.media_storage.retention import MediaRetention
from channels.media_storage.routes import create_router
from channels.media_storage.service import MediaService
from channels.media_storage.settings import MediaStorageSettings
from hub.family import Context, Parts
from hub.objects.ports import EXPORT_FOLDERS, FILE_LINKS, OBJECT_STORE
from hub.objects.transfer import LINK_OWNERS


def build(context: Context) -> Parts:
    """The parts of the family, for one hub."""
    register_errors(context.errors)
    settings = context.section("media_storage", MediaStorageSettings)
    objects = context.one(OBJECT_STORE)
    media = MediaService(context.transactions, objects, context.one(FILE_LINKS), settings, context.clock, Counters())
    owner = MediaLinkOwner(media, context.transactions, context.outbox, settings)
    publisher = MediaPublisher(context.hub, context.clock)
    return Parts(
        routers=[create_router(media, context.hosts)],
        services=[
            MediaRetention(
                media,
                context.transactions,
                objects,
                settings,
                context.steady_clock,
                longest_upload_s=context.settings.objects.longest_upload_s(settings.max_file_bytes),
            ),
            Arrivals(media, owner, objects, settings),
        ],
        offers=[
            LINK_OWNERS.offer(owner),
            EXPORT_FOLDERS.offer(media),
        ],
        outbox_consumers=[publisher],
        examples=[publisher],
        counters={"media_storage": media.counters},
    )
