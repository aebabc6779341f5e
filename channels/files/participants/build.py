"""What chats put into the family: the calls of the Participant service and the hub's own, the WebSockets, and the jobs behind them."""

from __future__ import annotations

from channels.events import EVENT_SINK, INTERACTION_LISTENERS, INTERACTIONS
from channels.files.arns import Arns
from channels.files.participants import demo, routes, routes_contact, routes_rest
from channels.files.participants.admitters import Admitters
from channels.files.participants.callers import Callers
from channels.files.participants.connections import Connections
from channels.files.participants.counters import ChatCounters
from channels.files.participants.endpoint import ParticipantSockets
from channels.files.participants.eraser import ChatEraser
from channels.files.participants.errors import register_errors
from channels.files.participants.journal import Journal
from channels.files.participants.publisher import ChatPublisher
from channels.files.participants.retention import ChatRetention
from channels.files.participants.serializers import TYPING_CHANNELS
from channels.files.participants.service import ChatService
from channels.files.participants.service_attachments import AttachmentService
from channels.files.participants.service_items import ItemService
from channels.files.participants.tokens import Tokens
from channels.files.participants.watch import ChatWatch
from channels.files.publisher import FILE_LISTENERS
from channels.files.service_files import FileService
from channels.files.settings import FilesSettings
from hub.audit.ports import AUDIT
from hub.core.delivery import ChannelDeclaration, DeliveryClass
from hub.core.metric import Gauge
from hub.family import Context, Parts
from hub.security.secret import signing_secret

CHANNELS = (ChannelDeclaration(f"{TYPING_CHANNELS}/*", DeliveryClass.EVENT, "who is typing in a chat", operation="/files/read"),)


def build(context: Context, files: FileService, arns: Arns, settings: FilesSettings) -> tuple[Parts, ChatEraser]:
    """The parts of chats, for one hub, and what takes a person out of them."""
    register_errors(context.errors)
    transactions, clock = context.transactions, context.clock
    counters = ChatCounters()
    tokens = Tokens(signing_secret(context.settings), clock)
    journal = Journal(context.outbox, clock, settings.chat_items)
    admitters = Admitters(context.gate.directory)
    callers = Callers(transactions, tokens, clock, settings.chat_calls_per_s, counters, admitters)
    chats = ChatService(
        transactions, journal, clock, settings, counters, lambda: next(iter(context.offered(INTERACTIONS)), None), context.one(AUDIT)
    )
    items = ItemService(transactions, journal, context.hub, clock, counters)
    attachments = AttachmentService(files, transactions, journal, arns, counters)
    sockets = ParticipantSockets(context.hub, clock, callers, settings, counters)
    connections = Connections(chats, tokens, context.hosts)
    calls = routes.Handlers(
        callers=callers,
        chats=chats,
        items=items,
        attachments=attachments,
        connections=connections,
        transactions=transactions,
        hosts=context.hosts,
    )
    parts = Parts(
        routers=[
            routes.create_router(calls),
            routes_contact.create_contact_router(chats, connections, admitters),
            routes_rest.create_router(chats, items, connections, transactions, admitters, callers, context.one(AUDIT)),
        ],
        any_origin=routes.PATHS,
        routes=demo.routes() if context.settings.demo else [],
        endpoints=[sockets],
        drains=[sockets.drain],
        channels=CHANNELS,
        services=[ChatRetention(chats, context.steady_clock), ChatWatch(sockets, chats, admitters, clock)],
        outbox_consumers=[ChatPublisher(context.hub, lambda: next(iter(context.offered(EVENT_SINK)), None))],
        offers=[FILE_LISTENERS.offer(attachments), INTERACTION_LISTENERS.offer(chats)],
        counters={"chats": counters},
        gauges=[
            Gauge(
                "chats_sockets_open",
                "WebSockets of participants that are open: `files.chat_sockets` of a participant at most, within `limits.max_sessions`.",
                lambda: sockets.open,
            )
        ],
    )
    return parts, ChatEraser(chats)
