"""What files put into a hub: the links to them, their events, and the service for the APIs of the family."""

from channels.files.amazon_errors import FORMS, PAGE_HEADERS
from channels.files.arns import Arns
from channels.files.broken_checks import BrokenChecks
from channels.files.changes import FileChanges
from channels.files.counters import Counters
from channels.files.eraser import FilesEraser
from channels.files.errors import register_errors
from channels.files.export import FilesExport
from channels.files.link_owner import FileLinkOwner
from channels.files.participants.build import build as participants
from channels.files.publisher import CHANNELS, FILE_LISTENERS, FilePublisher
from channels.files.retention import FilesRetention
from channels.files.routes_attached import AttachedCalls, create_attached_fast_routes, create_attached_router
from channels.files.routes_interactions import create_router
from channels.files.scanner import VERDICT_BYTES, Scanner
from channels.files.service_files import FileService
from channels.files.settings import FilesSettings
from hub.core.metric import Gauge
from hub.family import Context, Parts
from hub.objects.ports import FILE_LINKS, OBJECT_STORE
from hub.objects.transfer import LINK_OWNERS
from hub.offers import Port
from hub.outbox.deferred_sender import DeferredSender
from hub.outbox.guard import Guard

FILES: Port[FileService] = Port("files")
"""The files of all tenants, for the APIs of the family."""


def build(context: Context) -> Parts:
    """The parts of the family, for one hub."""
    register_errors(context.errors)
    for path, form in FORMS.items():
        context.errors.add_form(path, form)
    settings = context.section("files", FilesSettings)
    counters = Counters()
    arns = Arns(settings.arn_region, settings.arn_account)
    changes = FileChanges(context.outbox, arns, counters)
    store, links = context.one(OBJECT_STORE), context.one(FILE_LINKS)
    direct = context.settings.objects.direct
    files = FileService(
        transactions=context.transactions,
        store=store,
        links=links,
        changes=changes,
        settings=settings,
        clock=context.clock,
        counters=counters,
        direct=direct,
    )
    webhooks = context.settings.outbox
    scanner = Scanner(
        transactions=context.transactions,
        store=store,
        links=links,
        changes=changes,
        # the beginning of an answer is what holds the verdict
        sender=DeferredSender(
            Guard(settings.scanner_networks, setting="files.scanner_networks"),
            context.clock,
            webhooks.model_copy(update={"kept_body_bytes": max(webhooks.kept_body_bytes, VERDICT_BYTES)}),
        ),
        settings=settings,
        clock=context.clock,
        counters=counters,
        wanted=files.scan_wanted,
        base_url=context.hosts.own_url,
        direct=direct,
        alone=context.alone,
    )
    retention = FilesRetention(
        transactions=context.transactions,
        store=store,
        changes=changes,
        settings=settings,
        clock=context.clock,
        steady=context.steady_clock,
        counters=counters,
        files=files,
    )
    checks = BrokenChecks(files, context.clock, alone=context.alone)
    publisher = FilePublisher(context.hub, lambda: context.offered(FILE_LISTENERS), arns, context.clock)
    chats, chat_eraser = participants(context, files, arns, settings)
    attached = AttachedCalls(files, arns, context.hosts)
    return Parts(
        fast_routes=create_attached_fast_routes(attached, context.settings.limits),
        routers=[
            create_router(files, settings, arns, context.hosts),
            create_attached_router(attached, files, arns),
            *chats.routers,
        ],
        any_origin=chats.any_origin,
        routes=chats.routes,
        page_headers=dict.fromkeys(FORMS, PAGE_HEADERS),
        endpoints=chats.endpoints,
        drains=chats.drains,
        channels=[*CHANNELS, *chats.channels],
        offers=[
            LINK_OWNERS.offer(FileLinkOwner(context.transactions, changes, context.clock, context.settings.objects.longest_upload_s)),
            FILES.offer(files),
            *chats.offers,
        ],
        services=[retention, checks, *([scanner] if settings.scanner_url else []), *chats.services],
        outbox_consumers=[publisher, *chats.outbox_consumers],
        examples=[publisher],
        counters={"files": counters, **chats.counters},
        gauges=[
            Gauge("files_scans_under_way", "Files that the scanner is looking at: at most `files.scans`.", lambda: scanner.under_way),
            *chats.gauges,
        ],
        eraser=FilesEraser(context.transactions, store, changes, counters, chat_eraser),
        export_source=FilesExport(context.transactions, arns),
    )
