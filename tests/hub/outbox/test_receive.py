"""``hub receive``: what it says of signatures, what it answers, what it prints."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import hmac
import io
import json
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import orjson
import pytest
import typer
from click.testing import Result
from multidict import CIMultiDict
from standardwebhooks.webhooks import Webhook
from typer.testing import CliRunner

from hub.outbox import sign
from hub.outbox.guard import Guard
from hub.outbox.models import OutboxEvent, Secret
from hub.outbox.receive import MAX_BODY_BYTES, MAX_REMEMBERED, Received, Receiver, ReceiverServer, Signature, answer, line, register, show
from hub.outbox.sender import Sender
from hub.outbox.settings import OutboxSettings
from hub.terminal import Console
from hub.transports.runtime import SystemClock
from tests.hub.outbox.support import endpoint
from tests.hub.outbox.test_sender import LOOPBACK
from tests.support.hub_process import clean_environment, hub_command

NOW_S = 1_767_225_600
WITHIN_S = 30.0
SECRET = "s3cret-text"
STARTED = b'{"operationId":"o","data":{"entities":[{"event":"STARTED","entity":{"id":"i-1"}},{"event":"STARTED","entity":{"id":"i-2"}}]}}'
MESSAGE = b'{"channel":{"id":"c","messageId":"1613474523265-0"},"type":"Text","text":"hi"}'


def event(body: bytes = STARTED, operation: str = "op-1") -> OutboxEvent:
    return OutboxEvent(7, "acme", "interaction.started", "k", "", operation, "t" * 32, "", body, 0)


def signed(*secrets: str, body: bytes = STARTED, at_s: int = NOW_S) -> CIMultiDict[str]:
    return CIMultiDict(sign.headers(event(body), [Secret(text) for text in secrets], 2, at_s))


def take(receiver: Receiver, headers: Mapping[str, str], body: bytes = STARTED) -> Received:
    return receiver.take("/hook", headers, body, NOW_S)


def without(headers: CIMultiDict[str], *names: str) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in names)


# -- signatures -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [SECRET, "ünïcode", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
def test_what_the_hub_signs_is_right(secret: str) -> None:
    came = take(Receiver([secret]), signed(secret))
    assert came.verified
    assert set(came.signatures.values()) == {Signature.RIGHT}


def test_what_others_sign_is_right() -> None:
    secret = sign.new_secret()
    at = time.time()
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(at))}
    headers["webhook-signature"] = Webhook(secret).sign("msg_1", datetime.datetime.fromtimestamp(int(at), datetime.UTC), STARTED.decode())
    came = Receiver([secret]).take("/", CIMultiDict(headers), STARTED, at)
    assert came.verified
    assert came.signatures == {"webhook-signature": "right", "X-Hub-Signature-256": "missing", "X-Hub-Signature": "missing"}


def test_a_plain_hmac_is_right() -> None:
    made = CIMultiDict({"x-hub-signature": "sha1=" + hmac.new(SECRET.encode(), MESSAGE, hashlib.sha1).hexdigest()})
    assert take(Receiver([SECRET]), made, MESSAGE).verified
    assert not take(Receiver([SECRET]), made, MESSAGE + b" ").verified


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("webhook-signature", "v1,AAAA"),
        ("webhook-signature", ""),
        ("webhook-id", "msg_other"),
        ("webhook-timestamp", str(NOW_S + 1)),
        ("webhook-timestamp", "soon"),
    ],
)
def test_the_strongest_signature_decides(name: str, value: str) -> None:
    headers = signed(SECRET)
    headers[name] = value
    came = take(Receiver([SECRET]), headers)
    assert came.verified is False
    assert came.signatures == {"webhook-signature": "wrong", "X-Hub-Signature-256": "right", "X-Hub-Signature": "right"}


def test_the_wrong_one_is_named() -> None:
    headers = signed(SECRET)
    headers["X-Hub-Signature"] = "sha1=" + "0" * 40
    came = take(Receiver([SECRET]), headers)
    assert came.signatures == {"webhook-signature": "right", "X-Hub-Signature-256": "right", "X-Hub-Signature": "wrong"}
    assert came.verified


def test_each_header_has_its_own_algorithm() -> None:
    headers = signed(SECRET)
    sha1, sha256 = headers["X-Hub-Signature"], headers["X-Hub-Signature-256"]
    headers = CIMultiDict({"X-Hub-Signature": sha256, "X-Hub-Signature-256": sha1})
    came = take(Receiver([SECRET]), headers)
    assert came.signatures == {"webhook-signature": "missing", "X-Hub-Signature-256": "wrong", "X-Hub-Signature": "wrong"}


@pytest.mark.parametrize(("away_s", "expected"), [(-301, "stale"), (-300, "right"), (0, "right"), (300, "right"), (301, "stale")])
def test_a_signature_of_another_time_is_stale(away_s: int, expected: str) -> None:
    came = take(Receiver([SECRET]), signed(SECRET, at_s=NOW_S + away_s))
    assert came.signatures["webhook-signature"] == expected
    assert came.verified == (expected == "right")


def test_either_secret_may_have_signed() -> None:
    assert take(Receiver(["new", "old"]), signed("old")).verified
    assert take(Receiver(["new", "old"]), signed("new")).verified
    assert take(Receiver(["new", "old"]), signed("older")).verified is False


def test_amid_a_rotation_the_old_secret_is_still_right() -> None:
    came = take(Receiver(["old"]), signed("new", "old"))
    assert came.verified
    assert came.signatures == {"webhook-signature": "right", "X-Hub-Signature-256": "wrong", "X-Hub-Signature": "wrong"}


def test_what_is_not_signed_is_not_verified() -> None:
    assert take(Receiver([SECRET]), signed()).verified is False


def test_without_a_secret_nothing_is_checked() -> None:
    came = take(Receiver(), signed(SECRET))
    assert came.verified is None
    assert set(came.signatures.values()) == {Signature.UNCHECKED}


# -- repeats --------------------------------------------------------------------------------------------------------------


def test_repeats_are_known() -> None:
    receiver = Receiver([SECRET])
    assert [take(receiver, signed(SECRET)).repeat for _ in range(3)] == [False, True, True]
    assert (receiver.taken, receiver.repeats, receiver.refused) == (3, 2, 0)


def test_who_cannot_sign_does_not_decide_what_counts_as_seen() -> None:
    receiver = Receiver([SECRET])
    take(receiver, signed("a guess"))
    assert not take(receiver, signed(SECRET)).repeat


def test_without_an_id_nothing_is_a_repeat() -> None:
    receiver = Receiver()
    assert [take(receiver, CIMultiDict()).repeat for _ in range(2)] == [False, False]


def test_only_so_many_ids_are_remembered() -> None:
    receiver = Receiver()
    for number in range(MAX_REMEMBERED + 1):
        take(receiver, {"webhook-id": str(number)})
    assert not take(receiver, {"webhook-id": "0"}).repeat
    assert take(receiver, {"webhook-id": str(MAX_REMEMBERED)}).repeat


# -- answers and lines ------------------------------------------------------------------------------------------------------


def test_the_answer_serves_interactions() -> None:
    said = answer(take(Receiver(), signed()), 200)
    assert (said["status"], said["data"]) == ({"code": 0}, {"ids": [{"id": "i-1"}, {"id": "i-2"}]})


@pytest.mark.parametrize("body", [MESSAGE, b'{"channel":{"id":"c"},"messageId":"1613474523265-0"}'])
def test_the_answer_serves_messages(body: bytes) -> None:
    said = answer(take(Receiver(), signed(), body), 200)
    assert (said["status"], said["messageId"]) == ({"code": 0}, "1613474523265-0")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{",
        b"[1]",
        b'"x"',
        b'{"data":[]}',
        b'{"data":{"entities":[1,{"entity":2},{"entity":{"id":3}}]}}',
        b"\xff",
        b"[" * 99_999,
    ],
)
def test_other_bodies_get_an_answer_too(body: bytes) -> None:
    came = take(Receiver(), signed(), body)
    assert answer(came, 200) == {"status": {"code": 0}, "data": {"ids": []}, "messageId": "msg_op-1"}
    assert line(came, 200).count("\n") == 1


def test_what_is_refused_is_told_why() -> None:
    assert answer(take(Receiver([SECRET]), signed("x")), 401) == {"status": {"code": 401, "message": "the signature is wrong"}}
    assert answer(take(Receiver([SECRET]), signed()), 401) == {"status": {"code": 401, "message": "the signature is missing"}}


def test_a_line() -> None:
    body = b'{"price": 1.10,\r\n "big": 18446744073709551617, "of": "\xc3\xbc"}'
    said = line(take(Receiver([SECRET]), signed(SECRET, body=body), body), 200)
    signatures = '"signatures":{"webhook-signature":"right","X-Hub-Signature-256":"right","X-Hub-Signature":"right"}'
    assert said == (
        f'{{"id":"msg_op-1","repeat":false,"verified":true,{signatures},"status":200,"path":"/hook","attempt":2,"sequence":7,'
        f'"traceId":"{"t" * 32}","body":{{"price":1.10,"big":18446744073709551617,"of":"ü"}}}}\n'
    )


def test_a_line_of_what_is_no_webhook() -> None:
    said = orjson.loads(line(take(Receiver(), {"X-Hub-Attempt": "many"}, b"a\nb\xff"), 200))
    assert (said["id"], said["attempt"], said["sequence"], said["traceId"]) == ("", None, None, None)
    assert said["text"] == "a\nb\ufffd"
    assert "body" not in said


def shown(received: Received, status: int = 200) -> str:
    out = io.StringIO()
    show(Console(file=out, width=200, force_terminal=False, highlight=False), received, status)
    return out.getvalue()


def test_for_people() -> None:
    receiver = Receiver([SECRET])
    take(receiver, signed(SECRET))
    headers = signed(SECRET)
    headers["X-Hub-Signature"] = "sha1=0"
    told = shown(take(receiver, headers))
    assert "POST /hook  msg_op-1  attempt 2  #7  REPEAT  answered 200" in told
    assert "webhook-signature right  X-Hub-Signature-256 right  X-Hub-Signature wrong" in told
    assert '"event": "STARTED"' in told


def test_nothing_that_a_terminal_would_obey_is_shown() -> None:
    body = '{"a":"\x9b2J [red]x[/red]"}'.encode()
    told = shown(Receiver().take("/\x1b]0;x\x07", {"webhook-id": "\x1b[2J"}, body, NOW_S))
    told += shown(take(Receiver(), {}, b"\x1b[2J \x07"))
    assert all(each.isprintable() or each == "\n" for each in told)
    assert "[red]x[/red]" in told
    assert "not signed" in told


def test_long_bodies_are_cut_for_people() -> None:
    told = shown(take(Receiver(), {}, json.dumps(list(range(1_000))).encode()))
    assert "... 942 lines more" in told


# -- over HTTP ----------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def serving(receiver: Receiver, **options: Any) -> AsyncIterator[tuple[str, list[Received]]]:
    """A receiver that serves: its URL, and what it has shown."""
    came: list[Received] = []
    url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(
        ReceiverServer(receiver, lambda each, _: came.append(each), **options).serve("127.0.0.1", 0, url.set_result)
    )
    try:
        async with asyncio.timeout(WITHIN_S):
            yield await url, came
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("secret", [SECRET, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
async def test_the_hubs_own_sender_is_understood(secret: str) -> None:
    sender = Sender(Guard(LOOPBACK), SystemClock(), OutboxSettings())
    await sender.start()
    try:
        async with serving(Receiver([secret])) as (url, came):
            outcome = await sender.send(endpoint(url=url, secrets=(Secret(secret),)), event(), 1, WITHIN_S)
    finally:
        await sender.stop()
    assert [each.verified for each in came] == [True]
    assert outcome.status == 200
    assert orjson.loads(outcome.body)["data"] == {"ids": [{"id": "i-1"}, {"id": "i-2"}]}


async def test_a_wrong_signature_gets_401() -> None:
    async with serving(Receiver([SECRET])) as (url, came), httpx.AsyncClient() as client:
        said = await client.post(url, content=STARTED, headers=signed("x"))
    assert (said.status_code, said.json()["status"]["message"]) == (401, "the signature is wrong")
    assert [each.verified for each in came] == [False]


@pytest.mark.parametrize("status", [204, 301, 410, 500])
async def test_any_status_can_be_asked_for(status: int) -> None:
    async with serving(Receiver(), status=status) as (url, _), httpx.AsyncClient() as client:
        assert (await client.post(url, content=STARTED)).status_code == status


async def test_what_is_no_post_is_refused() -> None:
    async with serving(Receiver()) as (url, came), httpx.AsyncClient() as client:
        said = await client.get(url)
    assert (said.status_code, said.headers["Allow"], came) == (405, "POST", [])


async def test_a_body_beyond_the_bound_is_refused() -> None:
    async with serving(Receiver()) as (url, came), httpx.AsyncClient() as client:
        said = await client.post(url, content=bytes(MAX_BODY_BYTES + 1))
    assert (said.status_code, came) == (413, [])


async def test_a_packed_body_is_taken_as_it_is() -> None:
    """Signatures are of the bytes that travelled."""
    async with serving(Receiver([SECRET])) as (url, came), httpx.AsyncClient() as client:
        body = b"not gzip at all"
        headers = {**signed(SECRET, body=body, at_s=int(time.time())), "Content-Encoding": "gzip"}
        await client.post(url, content=body, headers=headers)
    assert [each.verified for each in came] == [True]


async def test_a_body_that_breaks_off_is_nothing() -> None:
    async with serving(Receiver()) as (url, came), httpx.AsyncClient() as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        writer.write_eof()
        await reader.read()
        writer.close()
        assert (await client.post(url, content=b"1")).status_code == 200
    assert [each.body for each in came] == [b"1"]


async def test_enough_is_enough_and_the_last_one_is_answered() -> None:
    receiver = Receiver()
    came: list[Received] = []
    async with asyncio.timeout(WITHIN_S), httpx.AsyncClient() as client:
        answers: list[asyncio.Task[httpx.Response]] = []

        def post(url: str) -> None:
            answers.extend(asyncio.ensure_future(client.post(url, content=b"1")) for _ in range(2))

        await ReceiverServer(receiver, lambda each, _: came.append(each), count=2, delay_s=0.01).serve("127.0.0.1", 0, post)
        assert [(await each).status_code for each in answers] == [200, 200]
    assert len(came) == 2


# -- the command --------------------------------------------------------------------------------------------------------------


@contextmanager
def command(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """``hub receive`` as a process, and its URL."""
    process = subprocess.Popen(
        [str(hub_command()), "receive", "--port", "0", *arguments],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    with process:
        try:
            assert process.stderr is not None
            said = process.stderr.readline().decode()
            assert said.startswith("listening on http://127.0.0.1:"), said
            yield process, said.split()[2].rstrip(",")
        finally:
            process.kill()


def test_a_line_a_webhook_and_an_end_that_tells() -> None:
    with command("--secret", "other", "--secret", SECRET, "--count", "3") as (process, url), httpx.Client() as client:
        now_s = int(time.time())
        client.post(f"{url}hook?a=1", content=STARTED, headers=signed(SECRET, at_s=now_s))
        client.post(f"{url}hook?a=1", content=STARTED, headers=signed("other", at_s=now_s))
        client.post(f"{url}hook?a=1", content=STARTED, headers=signed("wrong", at_s=now_s))
        out, errors = process.communicate(timeout=WITHIN_S)
    came = [orjson.loads(each) for each in out.splitlines()]
    assert [(each["verified"], each["repeat"], each["status"], each["path"]) for each in came] == [
        (True, False, 200, "/hook?a=1"),
        (True, True, 200, "/hook?a=1"),
        (False, True, 401, "/hook?a=1"),
    ]
    assert came[0]["body"] == orjson.loads(STARTED)
    assert errors.decode() == "3 received, 2 repeats, 1 refused\n"
    assert process.returncode == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_well(number: signal.Signals) -> None:
    with command() as (process, url), httpx.Client() as client:
        assert client.post(url, content=b"1").status_code == 200
        process.send_signal(number)
        _, errors = process.communicate(timeout=WITHIN_S)
    assert (process.returncode, errors.decode()) == (0, "1 received, 0 repeats, 0 refused\n")


def test_who_reads_has_enough() -> None:
    """`hub receive | head -1`: a good end, and the webhook that nobody saw is not acknowledged."""
    with command() as (process, url), httpx.Client() as client:
        assert process.stdout is not None
        client.post(url, content=b"1")
        assert process.stdout.readline()
        process.stdout.close()
        assert client.post(url, content=b"2").status_code == 503
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
        assert process.wait(WITHIN_S) == 0


def invoke(*arguments: str) -> Result:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "300"})


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        told = invoke("--port", str(port))
    assert told.exit_code == 2
    assert f"--port {port}: " in told.stderr
    assert "already in use" in told.stderr.lower()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--secret", ""), "--secret: expected a text"),
        (("--status", "99"), "--status"),
        (("--port", "99999"), "--port"),
        (("--delay", "-1"), "--delay"),
    ],
)
def test_what_cannot_be(arguments: tuple[str, ...], why: str) -> None:
    told = invoke(*arguments)
    assert told.exit_code == 2
    assert why in told.stderr
