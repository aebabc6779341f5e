"""``hub receive``: a webhook receiver that checks signatures and prints the webhooks, to try endpoints and to learn the protocol."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
import typer
from aiohttp import ClientError, web
from rich.highlighter import JSONHighlighter
from rich.text import Text

from hub.client.console import FAILED, REFUSED, run_to_end
from hub.client.standard_output import OutputError, sentence
from hub.outbox.sign import verify, verify_standard
from hub.terminal import Console

STANDARD: Final = "webhook-signature"
HUB_256: Final = "X-Hub-Signature-256"
HUB: Final = "X-Hub-Signature"
STRONGEST_FIRST: Final = (STANDARD, HUB_256, HUB)
"""Signature headers, the strongest first; the first one that a webhook has decides. The signature of Standard Webhooks covers id and time,
too, so that a recorded request cannot be sent again later.
"""

TOLERANCE_S: Final = 300.0
"""Seconds by which ``webhook-timestamp`` may differ from now: the limit of the libraries of Standard Webhooks."""

MAX_BODY_BYTES: Final = 16 * 1024 * 1024
MAX_REMEMBERED: Final = 100_000
"""The number of ids that are kept to recognise repeats."""

SHOWN_LINES: Final = 60
"""Lines of a body that are shown on a terminal."""

SHUTDOWN_GRACE_S: Final = 2.0
"""Seconds that answers under way may take at the end."""


class Signature(StrEnum):
    """The result of checking the signature in one header."""

    RIGHT = "right"
    WRONG = "wrong"
    STALE = "stale"
    """Correct, but its timestamp is too far from now: a recorded request was sent again, or a clock is wrong."""
    MISSING = "missing"
    UNCHECKED = "unchecked"
    """There is a signature, but no secret to check it with."""


@dataclass(frozen=True, slots=True)
class Received:
    """One webhook."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    signatures: Mapping[str, Signature]
    verified: bool | None
    """Whether the signature is right; None if there is no secret to verify it with."""
    repeat: bool
    """Whether a webhook with the same ``webhook-id`` came before."""

    @property
    def id(self) -> str:
        """``webhook-id``; empty if the webhook has none."""
        return self.headers.get("webhook-id", "")


class Receiver:
    """Checks webhooks and recognises repeats. No I/O."""

    __slots__ = ("_secrets", "_seen", "_tolerance_s", "refused", "repeats", "taken")

    def __init__(self, secrets: Sequence[str] = (), tolerance_s: float = TOLERANCE_S) -> None:
        """``secrets``: a signature with any of them is right; without secrets, no signature is checked."""
        self._secrets = tuple(secrets)
        self._tolerance_s = tolerance_s
        self._seen: OrderedDict[str, None] = OrderedDict()
        self.taken = 0
        self.repeats = 0
        self.refused = 0
        """Webhooks, also counted in ``taken``, whose signature is wrong, stale or missing."""

    def take(self, path: str, headers: Mapping[str, str], body: bytes, now_s: float) -> Received:
        """Check one webhook. ``headers`` ignores the case of names; ``now_s`` is Unix time."""
        signatures = {name: self._signature(name, headers, body, now_s) for name in STRONGEST_FIRST}
        verified = None
        if self._secrets:
            there = [each for each in signatures.values() if each is not Signature.MISSING]
            verified = bool(there) and there[0] is Signature.RIGHT
        identifier = headers.get("webhook-id", "")
        repeat = identifier in self._seen
        if identifier and verified is not False:  # a request with a wrong signature must not turn a later one into a repeat
            self._seen[identifier] = None
            self._seen.move_to_end(identifier)
            if len(self._seen) > MAX_REMEMBERED:
                self._seen.popitem(last=False)
        self.taken += 1
        self.repeats += repeat
        self.refused += verified is False
        return Received(path, headers, body, signatures, verified, repeat)

    def _signature(self, name: str, headers: Mapping[str, str], body: bytes, now_s: float) -> Signature:
        given = headers.get(name)
        if given is None:
            return Signature.MISSING
        if not self._secrets:
            return Signature.UNCHECKED
        if name == STANDARD:
            identifier, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
            if not any(verify_standard(secret, body, identifier, at, given) for secret in self._secrets):
                return Signature.WRONG
            return Signature.RIGHT if abs(now_s - int(at)) <= self._tolerance_s else Signature.STALE
        algorithm = "sha256=" if name == HUB_256 else "sha1="
        right = given.startswith(algorithm) and any(verify(secret, body, given) for secret in self._secrets)
        return Signature.RIGHT if right else Signature.WRONG


def answer(received: Received, status: int) -> dict[str, Any]:
    """The body of the answer. It has the ids of interactions and of a message, as the senders of both kinds of webhooks expect."""
    if received.verified is False:
        return {"status": {"code": 401, "message": f"the signature is {_why(received)}"}}
    if not 200 <= status < 300:
        return {"status": {"code": status, "message": "hub receive was told to answer so"}}
    content = _content(received.body)
    data, channel = _object(content, "data"), _object(content, "channel")
    entities = data.get("entities")
    ids = [_object(each, "entity").get("id") for each in entities] if isinstance(entities, list) else []
    message = channel.get("messageId") or (content.get("messageId") if isinstance(content, dict) else None)
    said: dict[str, Any] = {
        "status": {"code": 0},
        "data": {"ids": [{"id": each} for each in ids if isinstance(each, str)]},
        "messageId": message if isinstance(message, str) else received.id,
    }
    return said


def _why(received: Received) -> str:
    return next((each.value for each in received.signatures.values() if each is not Signature.MISSING), Signature.MISSING.value)


def _object(content: object, key: str) -> dict[str, Any]:
    found = content.get(key) if isinstance(content, dict) else None
    return found if isinstance(found, dict) else {}


def _content(body: bytes) -> Any:
    """The parsed body; None if it is not JSON."""
    try:
        return msgspec.json.decode(body.decode())
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _is_json(body: bytes) -> bool:
    return body.strip() == b"null" or _content(body) is not None


def line(received: Received, status: int) -> str:
    """One webhook as one line of JSON. ``body`` is unchanged except for white space; a body that is not JSON is in ``text``."""
    said: dict[str, Any] = {
        "id": received.id,
        "repeat": received.repeat,
        "verified": received.verified,
        "signatures": received.signatures,
        "status": status,
        "path": received.path,
    }
    for key, header in (("attempt", "X-Hub-Attempt"), ("sequence", "X-Hub-Sequence")):
        value = received.headers.get(header, "")
        said[key] = int(value) if value.isascii() and value.isdecimal() and len(value) < 19 else None
    said["traceId"] = received.headers.get("X-B3-TraceId")
    if _is_json(received.body):
        said["body"] = msgspec.Raw(msgspec.json.format(received.body, indent=-1))
    else:
        said["text"] = received.body.decode("utf-8", "replace")
    return msgspec.json.encode(said).decode() + "\n"


_STYLES: Final = {Signature.RIGHT: "green", Signature.WRONG: "bold red", Signature.STALE: "bold red", Signature.UNCHECKED: "yellow"}


def show(console: Console, received: Received, status: int) -> None:
    """Print one webhook for people: its path and id, each signature, the body."""
    text = Text()
    text.append(f"{time.strftime('%H:%M:%S')} ", "dim")
    text.append(_printable(f"POST {received.path}  {received.id or 'without webhook-id'}"), "bold")
    for label, header in (("attempt ", "X-Hub-Attempt"), ("#", "X-Hub-Sequence")):
        if header in received.headers:
            text.append(_printable(f"  {label}{received.headers[header]}"))
    if received.repeat:
        text.append("  REPEAT", "bold yellow")
    text.append(f"  answered {status}\n", "green" if 200 <= status < 300 else "red")
    there = {name: each for name, each in received.signatures.items() if each is not Signature.MISSING}
    for name, each in there.items():
        text.append(f"  {name} ", "dim")
        text.append(each.value, _STYLES[each])
    if not there:
        text.append("  not signed", "yellow" if received.verified is None else "bold red")
    console.print(text)
    shown = received.body.decode("utf-8", "replace")
    if _is_json(received.body):
        shown = msgspec.json.format(received.body, indent=2).decode()
    lines = shown.splitlines()
    body = Text("\n".join(f"  {_printable(each)}" for each in lines[:SHOWN_LINES]))
    JSONHighlighter().highlight(body)
    if len(lines) > SHOWN_LINES:
        body.append(f"\n  ... {len(lines) - SHOWN_LINES:,} lines more", "dim")
    console.print(body)


def _printable(text: str) -> str:
    """The text with control characters escaped, since a terminal would execute them."""
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text)


class ReceiverServer:
    """Serves a :class:`Receiver` over HTTP/1.1 until it has received as many webhooks as it should."""

    def __init__(
        self, receiver: Receiver, show: Callable[[Received, int], object], *, status: int = 200, delay_s: float = 0, count: int = 0
    ):
        """``show`` is called with each webhook and the status of the answer, before that is sent. ``count`` 0: no limit."""
        self._receiver = receiver
        self._show = show
        self._status = status
        self._delay_s = delay_s
        self._count = count
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(self, host: str, port: int, ready: Callable[[str], object]) -> None:
        """Serve; ``ready`` is called with the URL.

        Raises:
            OSError: the address cannot be used, or a webhook cannot be printed.
        """
        runner = web.ServerRunner(
            web.Server(self._handle, access_log=None, auto_decompress=False),
            shutdown_timeout=SHUTDOWN_GRACE_S,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            at = runner.addresses[0]
            ready(f"http://{f'[{at[0]}]' if ':' in at[0] else at[0]}:{at[1]}/")
            await self._ended
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        if request.method != "POST":
            return _says(405, {"status": {"code": 405, "message": "expected POST"}}, {"Allow": "POST"})
        body = bytearray()
        try:
            async for piece in request.content.iter_any():
                body += piece
                if len(body) > MAX_BODY_BYTES:
                    message = f"body: expected at most {MAX_BODY_BYTES} bytes, got more"
                    return _says(413, {"status": {"code": 413, "message": message}}, {"Connection": "close"})
        except (ClientError, web.RequestPayloadError) as error:
            return _says(400, {"status": {"code": 400, "message": f"body: expected all of it, got {error}"}}, {"Connection": "close"})
        if self._ended.done():
            return _says(503, {"status": {"code": 503, "message": "hub receive has ended"}}, {"Connection": "close"})
        received = self._receiver.take(request.path_qs, request.headers, bytes(body), time.time())
        status = 401 if received.verified is False else self._status
        try:
            self._show(received, status)
        except OSError as error:
            self._ended.set_exception(error)  # the output is closed: a webhook that cannot be printed counts as not received
            return _says(503, {"status": {"code": 503, "message": "hub receive has ended"}}, {"Connection": "close"})
        if self._receiver.taken == self._count:
            self._ended.set_result(None)
        if self._delay_s:
            await asyncio.sleep(self._delay_s)
        return _says(status, answer(received, status))


def _says(status: int, content: dict[str, Any], headers: Mapping[str, str] = {}) -> web.Response:
    if status in {204, 205, 304}:
        return web.Response(status=status, headers=headers)
    return web.Response(status=status, body=msgspec.json.encode(content), content_type="application/json", headers=headers)


async def _receive(host: str, port: int, receiver: Receiver, checked: bool, errors: Console, **options: Any) -> int:
    out = Console(highlight=False)

    def shown(received: Received, status: int) -> None:
        if out.is_terminal:
            show(out, received, status)
        else:
            try:
                sys.stdout.write(line(received, status))
                sys.stdout.flush()
            except BrokenPipeError:
                raise
            except OSError as error:
                raise OutputError(error.errno, error.strerror) from error

    def ready(url: str) -> None:
        how = "checking signatures" if checked else "not checking signatures: no --secret"
        errors.print(f"listening on {url}, {how}", style="dim", markup=False)

    try:
        await ReceiverServer(receiver, shown, **options).serve(host, port, ready)
    finally:
        totals = f"{receiver.taken:,} received, {receiver.repeats:,} repeats, {receiver.refused:,} refused"
        errors.print(totals, style="dim", markup=False)
    return REFUSED if receiver.refused else 0


def register(app: typer.Typer) -> None:
    """Add ``hub receive``."""

    @app.command(
        epilog="Examples:\n\n"
        "`hub receive --port 9000 --secret s3cret-text` — beside `hub endpoint add http://localhost:9000/ --secret s3cret-text`; the hub "
        "needs `HUB_OUTBOX__ALLOWED_NETWORKS=127.0.0.0/8`\n\n"
        "`hub receive --status 503` — see how the hub tries again\n\n"
        "`hub receive --secret NEW --secret OLD | jq -c 'select(.repeat | not) | .body'` — amid a rotation; each webhook once"
    )
    def receive(
        port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65_535)] = 9000,
        secret: Annotated[
            list[str] | None, typer.Option(metavar="SECRET", help="Secret of the endpoint; may be repeated: any may have signed.")
        ] = None,
        status: Annotated[int, typer.Option(help="What webhooks are answered with.", min=200, max=599)] = 200,
        delay: Annotated[float, typer.Option(help="Seconds that the answer takes.", min=0, max=3_600)] = 0,
        count: Annotated[int, typer.Option(help="End after so many; 0 is never.", min=0)] = 0,
        tolerance: Annotated[float, typer.Option(help="Seconds that webhook-timestamp may be from now.", min=0)] = TOLERANCE_S,
        host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    ) -> None:
        """Receive webhooks on any path, check their signatures, print them.

        On a terminal for people, else each as one line of JSON: {"id":...,"repeat":...,"verified":...,"signatures":{...},"status":...,
        "path":...,"attempt":...,"sequence":...,"traceId":...,"body":...}. With --secret, what is not rightly signed is answered with 401:
        webhook-signature decides, else X-Hub-Signature-256, else X-Hub-Signature. Ends with 0 on Ctrl-C or after --count, with 1 when one
        of these was refused, with 2 when the port cannot be had.
        """
        if secret and not all(secret):
            raise typer.BadParameter("expected a text, got an empty one", param_hint="--secret")
        errors = Console(stderr=True, highlight=False, soft_wrap=True)
        receiver = Receiver(secret or (), tolerance)
        try:
            code = run_to_end(
                _receive(host, port, receiver, bool(secret), errors, status=status, delay_s=delay, count=count),
            )
        except OutputError as error:
            errors.print(sentence(error), style="red", markup=False)
            code = FAILED
        except OSError as error:
            errors.print(f"--host {host} --port {port}: {error.strerror or error}", style="red", markup=False)
            code = FAILED
        raise typer.Exit(code)
