"""``hub listen`` and ``hub publish``: subscribe and publish on a running hub from the command line."""

from __future__ import annotations

import asyncio
import codecs
import concurrent.futures
import contextlib
import os
import shlex
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Annotated, Any, Final

import msgspec
import typer

from hub.client.address import BAYEUX_PATH, base_url
from hub.client.bayeux import BayeuxClient
from hub.client.console import FAILED, REFUSED, run_to_end
from hub.client.conversation import ALL, NEW, Message
from hub.client.errors import BayeuxError, HandshakeDeniedError, PublishError, SubscribeError
from hub.client.options import DEFAULT_URL, ApiKey, Token, Url, client_of, way_in
from hub.client.output import Output
from hub.client.session_manager import State
from hub.client.standard_output import OutputError, sentence
from hub.client.transports import LONG_POLLING, WEBSOCKET
from hub.client.unreachable import NEXT_STEP, NOTHING_LISTENS
from hub.core.channels import SERVER_ROOTS, InvalidChannelError, check_channel, check_pattern
from hub.terminal import Console

_TOGETHER: Final = 500
"""At most so many lines of standard input are sent together, and so many events are printed together."""
_READ_BYTES: Final = 64 * 1024
_NO_LOG: Final = "--since: the hub keeps no log of {}: only what is new comes (docs/settings.md, replay.channels, says what is kept)"
_FORBIDDEN: Final = 403

Transport = Annotated[str, typer.Option(help=f"{WEBSOCKET} or {LONG_POLLING}; else the first of them that passes")]
Endpoint = Annotated[str, typer.Option(help="Path of the Bayeux endpoint below --url; other servers have other paths")]


def _transports(name: str) -> Sequence[str]:
    if name not in {"", WEBSOCKET, LONG_POLLING}:
        raise typer.BadParameter(f"expected {WEBSOCKET} or {LONG_POLLING}, got {name}", param_hint="--transport")
    return (name,) if name else (WEBSOCKET, LONG_POLLING)


def _client(url: str, endpoint: str, **options: Any) -> BayeuxClient:
    if not endpoint.startswith("/"):
        raise typer.BadParameter(f"expected a path that begins with /, got {endpoint}", param_hint="--endpoint")

    def make(text: str, **options: Any) -> BayeuxClient:
        base = base_url(text)
        return BayeuxClient(str(base.with_path(base.path.rstrip("/") + endpoint)), **options)

    return client_of(make, url, **options)


def _checked(check: Callable[[str], str], name: str, hint: str) -> str:
    try:
        return check(name)
    except InvalidChannelError as error:
        raise typer.BadParameter(f"{error}{hint}; got {name[:80]!r}", param_hint="CHANNEL") from None


def _since(text: str) -> int | None:
    named = {"": None, "all": ALL, "new": NEW}
    if text in named:
        return named[text]
    if not (text.isascii() and text.isdigit()):
        raise typer.BadParameter(f"expected all, new, or a position, got {text}", param_hint="--since")
    return int(text)


def _json(text: str | bytes) -> msgspec.Raw:
    """Check that a text is JSON, and return it unchanged, as it will be sent.

    Raises:
        ValueError: it is not JSON; the text says where the fault is.
    """
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        shown = text if isinstance(text, str) else text.decode("utf-8", "replace")
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise ValueError(f"expected JSON, got {shown[:60]!r}: {reason}") from None
    return msgspec.Raw(text)


def line(message: Message) -> str:
    """One message as one line: ``{"channel":...,"data":...}``, with ``position`` if it has one. The data is unchanged."""
    position = "" if message.position is None else f',"position":{message.position}'
    return f'{{"channel":{msgspec.json.encode(message.channel).decode()},"data":{message.text}{position}}}\n'


def _run(work: Coroutine[Any, Any, int], url: str) -> None:
    """Run a command on the hub at ``url``, print an error as one line on standard error, and exit with the command's code."""
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        code = run_to_end(work)
    except (SubscribeError, PublishError) as error:
        errors.print(f"refused: {error.channel}: {_reason(error)}", style="red", markup=False)
        code = REFUSED
    except HandshakeDeniedError as error:
        errors.print(f"{error}: the hub does not let you in: {way_in(url)}", style="red", markup=False)
        code = FAILED
    except BayeuxError as error:
        errors.print(str(error), style="red", markup=False)
        code = FAILED
    except OSError as error:
        text = sentence(error) if isinstance(error, OutputError) else f"standard input cannot be read: {error.strerror or error}"
        errors.print(text, style="red", markup=False)
        code = FAILED
    raise typer.Exit(code)


def _reason(refused: SubscribeError | PublishError) -> str:
    """Why the hub refused: its error text; after a 403 also what the user can do."""
    if refused.code != _FORBIDDEN:
        return refused.error
    doing = "publish" if isinstance(refused, PublishError) else "subscribe"
    root = next((each for each in SERVER_ROOTS if f"{refused.channel}/".startswith(f"{each}/")), "")
    if root and isinstance(refused, PublishError):
        return f"only the server publishes on {root} and below it, whatever the role ({refused.error})"
    return (
        f"this credential may not {doing} here ({refused.error}); give one whose role may (--token, --api-key): "
        f"`hub role list` says what each may, `hub access explain WHO {doing} {shlex.quote(refused.channel)}` why this one may not"
    )


def _hint(errors: Console) -> Callable[[str], None]:
    """Print what to do when nothing listens where the hub should be, once."""
    given = set[str]()

    def hint(reason: str) -> None:
        if NOTHING_LISTENS in reason and not given:
            given.add(NEXT_STEP)
            errors.print(NEXT_STEP, style="yellow", markup=False)

    return hint


def _tell(errors: Console) -> Callable[[State, str], None]:
    hint = _hint(errors)

    def tell(state: State, reason: str) -> None:
        if state is not State.DISCONNECTED:
            errors.print(f"{state.value}{f': {reason}' if reason else ''}", style="dim", markup=False)
            hint(reason)

    return tell


def _tell_trouble(errors: Console) -> Callable[[State, str], None]:
    """For a command that prints nothing while it is connected: print why there is no connection, each reason once."""
    notified = set[str]()
    hint = _hint(errors)

    def tell(state: State, reason: str) -> None:
        if reason and reason not in notified and state not in {State.CONNECTED, State.DISCONNECTED}:
            notified.add(reason)
            errors.print(f"{state.value}: {reason}", style="dim", markup=False)
            hint(reason)

    return tell


async def _listen(client: BayeuxClient, patterns: Sequence[str], since: int | None, count: int, errors: Console) -> int:
    async with client, client.subscribe(*patterns, replay=since) as messages:
        errors.print(f"listening to {', '.join(patterns)}", style="dim", markup=False)
        if messages.without_log:
            errors.print(_NO_LOG.format(", ".join(messages.without_log)), style="yellow", markup=False)
        output = Output()
        heard = 0
        async for message in messages:
            lines = [line(message)]
            while messages.waiting and len(lines) < _TOGETHER and heard + len(lines) != count:
                lines.append(line(await anext(messages)))
            await output.write("".join(lines))
            heard += len(lines)
            if heard == count:
                break
    return 0


async def _pieces() -> AsyncIterator[list[bytes]]:
    """Lines of standard input, as they come. A daemon thread reads them: asyncio cannot wait for a file, and a terminal that is being read
    must not keep the process from ending.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[list[bytes] | None] = asyncio.Queue(4)

    def read() -> None:
        rest = b""
        with contextlib.suppress(RuntimeError, concurrent.futures.CancelledError):  # the command has ended: the rest is not needed
            while chunk := os.read(sys.stdin.fileno(), _READ_BYTES):
                *lines, rest = (rest + chunk).split(b"\n")
                asyncio.run_coroutine_threadsafe(queue.put(lines), loop).result()
            asyncio.run_coroutine_threadsafe(queue.put([rest] if rest else []), loop).result()
            asyncio.run_coroutine_threadsafe(queue.put(None), loop).result()

    threading.Thread(target=read, daemon=True).start()
    while (lines := await queue.get()) is not None:
        for start in range(0, len(lines), _TOGETHER):
            yield lines[start : start + _TOGETHER]


async def _publish_lines(client: BayeuxClient, channel: str, errors: Console) -> int:
    taken = refused = number = 0
    connected = False
    try:
        with errors.status("connecting") as status:
            async with client:
                connected = True
                async for lines in _pieces():
                    wanted: list[tuple[int, msgspec.Raw]] = []
                    for text in lines:
                        number += 1
                        if number == 1:
                            text = text.removeprefix(codecs.BOM_UTF8)
                        if not text.strip():
                            continue
                        try:
                            wanted.append((number, _json(text)))
                        except ValueError as error:
                            refused += 1
                            errors.print(f"line {number}: {error}", style="red", markup=False)
                    answers = await client.publish_many((channel, data) for _, data in wanted)
                    for (at, _), answer in zip(wanted, answers, strict=True):
                        if answer is None:
                            taken += 1
                        else:
                            refused += 1
                            errors.print(f"line {at}: refused: {_reason(answer)}", style="red", markup=False)
                    status.update(f"{taken:,} published, {refused:,} refused")
    except asyncio.CancelledError:  # Ctrl-C or SIGTERM
        if not connected:
            return FAILED
        raise
    finally:
        errors.print(f"{taken:,} published, {refused:,} refused")
    return REFUSED if refused else 0


async def _publish_one(client: BayeuxClient, channel: str, data: msgspec.Raw, errors: Console) -> int:
    sending = False
    try:
        async with client:
            sending = True
            await client.publish(channel, data)
    except asyncio.CancelledError:  # Ctrl-C or SIGTERM
        end = (
            "ended before the hub answered: the event may have arrived, or not"
            if sending
            else "ended before there was a connection: nothing was published"
        )
        errors.print(end, style="red", markup=False)
        return FAILED
    return 0


def register(app: typer.Typer) -> None:
    """Add the commands to ``hub``."""

    @app.command(
        "listen",
        epilog="Examples:\n\n"
        "`hub listen /my/** --token demo-token` — everything below /my, a line an event\n\n"
        "`hub listen /orders/** --since all --token ... | jq .data` — all that is kept of a log channel, then what is new\n\n"
        "`hub listen /my/channel --count 1 --token ...` — wait for one event, print it, end",
    )
    def listen(
        channels: Annotated[list[str], typer.Argument(metavar="CHANNEL...", help="Channels, and patterns such as /a/* and /a/**")],
        url: Url = DEFAULT_URL,
        token: Token = "",
        api_key: ApiKey = "",
        transport: Transport = "",
        endpoint: Endpoint = BAYEUX_PATH,
        since: Annotated[str, typer.Option(help="On log channels: all, new, or the position of the last event that you have")] = "",
        count: Annotated[int, typer.Option(help="End after so many events; 0 is never", min=0)] = 0,
    ) -> None:
        """Print events as they come, each as one line of JSON: {"channel":...,"data":...}.

        With --since each line of a log channel has its "position" too, and a lost connection loses nothing there. What the connection
        does is said on standard error. Ends with 0 on Ctrl-C, with 1 when the hub refuses a channel, with 2 when it cannot be reached
        or does not let you in.
        """
        patterns = [_checked(check_pattern, channel, "; * or ** may be the last segment") for channel in channels]
        errors = Console(stderr=True, highlight=False, soft_wrap=True)
        replay = _since(since)
        client = _client(
            url,
            endpoint,
            token=token,
            api_key=api_key,
            transports=_transports(transport),
            resume=replay is not None,
            on_state=_tell(errors),
        )
        _run(_listen(client, patterns, replay, count, errors), url)

    @app.command(
        "publish",
        epilog="Examples:\n\n"
        """`hub publish /my/channel '{"hi":1}' --token demo-token`\n\n"""
        "`my-program | hub publish /my/channel - --token ...` — each line of standard input is an event",
    )
    def publish(
        channel: Annotated[str, typer.Argument(help="A channel, no pattern")],
        data: Annotated[str, typer.Argument(metavar="JSON", help="The event's data; - takes one from each line of standard input")],
        url: Url = DEFAULT_URL,
        token: Token = "",
        api_key: ApiKey = "",
        transport: Transport = "",
        endpoint: Endpoint = BAYEUX_PATH,
    ) -> None:
        """Publish an event, or one for each line of standard input. The data is sent as it is written: 1.10 stays 1.10.

        Ends with 0 when the hub has taken all, with 1 when something was refused or is no JSON, with 2 when the hub cannot be reached,
        does not let you in, or went away before it answered, and when Ctrl-C came before that (with -: before there was a connection).
        """
        _checked(check_channel, channel, "; one publishes on a channel, not on a pattern" if "*" in channel else "")
        errors = Console(stderr=True, highlight=False, soft_wrap=True)
        client = _client(
            url,
            endpoint,
            token=token,
            api_key=api_key,
            transports=_transports(transport),
            resume=False,
            ack=False,
            on_state=_tell_trouble(errors),
        )
        if data == "-":
            _run(_publish_lines(client, channel, errors), url)
        try:
            raw = _json(data)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="JSON") from None
        _run(_publish_one(client, channel, raw, errors), url)
