"""What the object store adds to a hub: the store and its links for other families, and the endpoint of the links."""

from __future__ import annotations

from hub.core.metric import Gauge
from hub.family import Context, Parts
from hub.objects.counters import ObjectCounters
from hub.objects.errors import register_errors
from hub.objects.link_endpoint import LinkEndpoint
from hub.objects.links import FileLinks
from hub.objects.open_store import local_folder, open_store
from hub.objects.ports import FILE_LINKS, OBJECT_STORE
from hub.objects.readiness import StoreReadiness
from hub.objects.sends import Sends
from hub.objects.transfer import LINK_OWNERS
from hub.security.secret import signing_secret


def build(context: Context) -> Parts:
    """The store that the settings name, and what serves its links."""
    register_errors(context.errors)
    settings = context.settings.objects
    sends = Sends(settings.max_sends)
    store = open_store(settings, context.settings.data_dir, context.clock, sends)
    folder = local_folder(settings, context.settings.data_dir)
    links = FileLinks(signing_secret(context.settings), context.clock)
    counters = ObjectCounters()
    endpoint = LinkEndpoint(links, store, lambda: context.offered(LINK_OWNERS), settings, counters)
    return Parts(
        endpoints=[endpoint],
        offers=[OBJECT_STORE.offer(store), FILE_LINKS.offer(links)],
        readiness={"objects": StoreReadiness(store, context.clock).trouble},
        counters={"objects": counters},
        gauges=[
            Gauge(
                "objects_transfers",
                "Uploads and downloads by links that are under way: at most `objects.max_transfers`.",
                lambda: endpoint.transfers,
            ),
            Gauge(
                "objects_sends",
                "Uploads that are passed on to a cloud's store: at most `objects.max_sends`, and of one tenant three quarters of that.",
                lambda: sends.running,
            ),
            Gauge(
                "objects_sends_waiting",
                "Uploads that wait on the disk until they can be passed on to a cloud's store.",
                lambda: sends.waiting,
            ),
        ],
        shared_folders={} if folder is None else {"objects.url": None if settings.url is None else folder},
    )
