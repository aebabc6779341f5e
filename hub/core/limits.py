"""Every limit and default of the protocols, once, each with its reason. ``docs/limits.md`` is made from this table."""

from dataclasses import dataclass, field, fields

MAX_CHANNEL_LENGTH = 255
"""Characters of a channel name (docs/protocol/bayeux.md#channel-names)."""

MAX_CHANNEL_SEGMENTS = 16
"""Segments of a channel name (docs/protocol/bayeux.md#channel-names): routing costs one look-up a segment."""

MAX_BODY_BYTES = 16 * 1024 * 1024
"""Most that a REST operation may set as the limit of its own body."""


def _limit(default: int, reason: str) -> int:
    return field(default=default, metadata={"reason": reason})


def _choice(default: str, others: tuple[str, ...], reason: str) -> str:
    return field(default=default, metadata={"reason": reason, "choices": (default, *others)})


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds that hold for every session. Settings of the same names override the defaults."""

    timeout_ms: int = _limit(20_000, "how long a /meta/connect is held; what the real Statistics API announces")
    interval_ms: int = _limit(0, "what a client waits between two connects")
    max_interval_ms: int = _limit(10_000, "how long a session lives without a connect or a socket")
    max_client_interval_ms: int = _limit(60_000, "the longest pause between two connects that a client may announce by advice.interval")
    max_message_bytes: int = _limit(
        64 * 1024, "one Bayeux message or dashboard command; also all that a WebSocket may send in one message before it has said who it is"
    )
    max_request_bytes: int = _limit(1024 * 1024, "one HTTP body or WebSocket message")
    max_batch: int = _limit(100, "messages in one request or frame")
    max_subscriptions: int = _limit(500, "channels and patterns that one session may hold")
    max_calls: int = _limit(100, "remote calls of one session that are under way at a time")
    max_rest_body_bytes: int = _limit(1024 * 1024, "the body of a REST request, where its operation has no limit of its own")
    max_sign_in_bytes: int = _limit(4096, "the body of a sign-in, which anybody may send")
    max_buffered_bytes: int = _limit(
        256 * 1024 * 1024, "bodies of all requests of a process that are not answered yet; over it 503 with Retry-After"
    )
    max_buffered_bytes_per_address: int = _limit(
        32 * 1024 * 1024, "bodies of one address's requests that are not answered yet; over it 429 with Retry-After"
    )
    max_body_members: int = _limit(2000, "members and elements of a JSON body that is checked whole: each can be an error of its own")
    max_query_parameters: int = _limit(1000, "parameters in the query of a REST request")
    max_headers: int = _limit(200, "headers of a request: each of them is looked at several times")
    max_publish_bytes: int = _limit(1024 * 1024, "the body of POST /api/v1/publish, unpacked")
    max_publish_items: int = _limit(1000, "messages of one POST /api/v1/publish")
    max_publish_ids: int = _limit(
        200_000, "ids of published messages that are remembered for ten minutes, half of them one tenant's; over it the oldest is forgotten"
    )
    max_errors_told: int = _limit(10, "errors of one request that its answer tells; of the others it says how many they are")
    max_json_depth: int = _limit(64, "nesting of arrays and objects: deeper input is an attack on a parser")
    max_queue_bytes: int = _limit(1024 * 1024, "what may wait for one slow client before its delivery class decides")
    max_process_queue_bytes: int = _limit(
        512 * 1024 * 1024, "what may wait for all clients of a process together before its largest queues are given up"
    )
    max_frame_bytes: int = _limit(32 * 1024, "messages that wait together leave in frames of up to this size")
    arrivals_us: int = _limit(
        250,
        "microseconds of each turn of the event loop in which opening WebSockets, handshakes and subscribes may begin, one of them at"
        " least; less serves others sooner while thousands of clients come back",
    )
    max_requests_ahead: int = _limit(8, "requests of one HTTP connection that are read while an earlier one is not answered yet")
    head_timeout_ms: int = _limit(
        10_000, "how long a new connection, or the head of a request that has begun, may take to arrive; over it 408; 0: for ever"
    )
    body_timeout_ms: int = _limit(30_000, "how long the body of a request may take to arrive, from the end of its head on; 0: for ever")
    linger_ms: int = _limit(
        1000, "how long a client that is still sending may take to read the answer that ends its connection, which is closed then"
    )
    max_linger_bytes: int = _limit(1024 * 1024, "what is read from such a client, and dropped, before its connection is closed")
    max_lingering: int = _limit(100, "connections of one process that are kept for that; one more is closed at once")
    response_timeout_ms: int = _limit(
        30_000,
        "how long a client may take to read an answer of long-polling that does not fit into one write; over it it is cut off",
    )
    keep_alive_s: int = _limit(75, "seconds that an idle HTTP connection is kept: above the 60 of usual proxies")
    pong_timeout_ms: int = _limit(20_000, "how long a WebSocket may take to answer a ping; 0: for ever")
    close_timeout_ms: int = _limit(5000, "how long a WebSocket may take to answer a close frame, or to read what stands before it")
    max_message_frames: int = _limit(1024, "frames of one WebSocket message, of which nearly every one is one; over it 1009")
    max_frames_at_once: int = _limit(4096, "WebSocket frames in one read of 256 KB at most; over it 1008")
    max_connections: int = _limit(10_000, "connections of one process, HTTP and WebSocket; over it one that waits gives way, or 503")
    max_unidentified: int = _limit(
        1000, "connections that have shown no credential; over it one that waits, or keeps the hub waiting, gives way, or 503"
    )
    max_unidentified_per_address: int = _limit(
        200, "connections of one address that have shown no credential; over it one of them that waits gives way, or 429"
    )
    handshakes_per_s_per_address: int = _limit(
        200,
        "sessions one address may ask for in a second, as many at once; nodes divide it; over it 429 and come back later; 0: any number",
    )
    handshakes_per_s_per_tenant: int = _limit(
        200,
        "sessions one tenant may open in a second, as many at once; nodes divide it; over it 429 and come back later; 0: any number",
    )
    max_sessions: int = _limit(20_000, "sessions of one process; a handshake over it is told to come back later")
    max_unconnected: int = _limit(10_000, "sessions that shook hands and never connected")
    tenant_share_percent: int = _limit(
        50,
        "of max_sessions, max_unconnected and max_tickets, what one tenant may have; of max_connections, with which it leaves the last "
        "tenth to others",
    )
    sign_in_failures: int = _limit(
        10, "failed sign-ins of one address and user, and wrong device codes of one user, within sign_in_window_s; then 429; 0: any number"
    )
    sign_in_window_s: int = _limit(300, "seconds within which failed sign-ins are counted, and until a further one is tried")
    sign_in_failures_per_address: int = _limit(
        300, "failed sign-ins of one address (IPv6: of its /64) within sign_in_window_s; then 429; 0: any"
    )
    sign_in_failures_per_user: int = _limit(
        100, "failed sign-ins of one user from all addresses within sign_in_window_s; further ones are slowed down; 0: any number"
    )
    sign_in_delay_ms: int = _limit(5000, "how long a slowed sign-in waits before its password is checked")
    max_sign_ins_slowed: int = _limit(200, "slowed sign-ins that wait, of all users; then 429")
    max_sign_ins_slowed_per_user: int = _limit(3, "slowed sign-ins of one user that wait; then 429")
    max_sign_ins_waiting: int = _limit(64, "passwords that wait to be checked, of all addresses; then 503")
    max_sign_ins_waiting_per_address: int = _limit(8, "passwords of one address that wait to be checked; then 429")
    token_sign_ins_per_h: int = _limit(
        600,
        "sign-ins of one tenant with tokens, POST /api/v1/sign-in, in an hour and process: each is remembered for a month after its end; "
        "then 429; 0: any number",
    )
    duplicate_connect_status: int = _limit(500, "HTTP status that ends a held connect when a second one comes; browsers retry 408")
    max_held_per_browser: int = _limit(4, "connects of one browser that are held: it opens 6 connections to a host over HTTP/1.1")
    session_binding: str = _choice(
        "client-id", ("strict",), "client-id: browsers whose cookie does not reach the hub resume a session by its clientId; strict: never"
    )
    ticket_resume_s: int = _limit(60, "seconds after the end of a stream within which its ticket opens it again; 0: never")
    max_decisions: int = _limit(
        65_536, "decisions on what callers may do that are remembered; over it the tenant with most of them loses its oldest"
    )
    max_client_origins: int = _limit(
        10_000, "origins of OAuth clients that are known; over it the tenants with most of them lose those of their newest clients"
    )
    max_tickets: int = _limit(10_000, "tickets that wait to be used, and as many whose stream has ended and may be opened again")
    many_clients_interval_ms: int = _limit(2000, "what a session waits between two connects while its browser has as many held as it may")
    activity_ms: int = _limit(0, "a Bayeux session without any traffic but its connects ends after this; 0 never ends it")
    activity_counts_deliveries: int = _limit(0, "1: what a session is sent counts as traffic for activity_ms, too")
    heartbeat_s: int = _limit(25, "seconds of silence after which a WebSocket is pinged, below every usual proxy's idle limit; 0: never")
    hello_timeout_s: int = _limit(10, "seconds that a dashboard connection may stay without saying who it is")
    token_expiry_notice_s: int = _limit(
        60, "seconds before the end of its credential at which a live session is told of it, so that it shows a newer one; 0: never"
    )
    sse_retry_ms: int = _limit(
        2000,
        "after how long at least a browser opens an event stream again that broke, and as much again at random: streams that end together"
        " do not come back together",
    )
    sse_comment_s: int = _limit(15, "seconds between the comments of an event stream, below every usual proxy's idle limit; 0 sends none")

    def of_tenant(self, most: int) -> int:
        """One tenant's share of ``most``, at least one."""
        return max(1, most * self.tenant_share_percent // 100)

    @classmethod
    def table(cls) -> list[tuple[str, int | str, str]]:
        """Rows of (name, default, reason), for the reference."""
        defaults = cls()
        return [(f.name, getattr(defaults, f.name), f.metadata["reason"]) for f in fields(cls)]

    @classmethod
    def choices(cls) -> dict[str, tuple[str, ...]]:
        """The values of those that are no number, by name, the default first."""
        return {f.name: f.metadata["choices"] for f in fields(cls) if "choices" in f.metadata}
