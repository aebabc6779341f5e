"""A producer of events: sends batches of CloudEvents to a running hub over HTTP, and tries again while the hub cannot be reached."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import orjson

from hub.client.address import PROXY_CREDENTIALS, base_url, proxy_of
from hub.client.credentials import Credential, Credentials
from hub.client.errors import CredentialError
from hub.client.unreachable import why

PATH: Final = "/ingest/v1/events"
CONTENT_TYPE: Final = "application/cloudevents-batch+json"

_AGAIN = frozenset({429, 502, 503, 504})
"""HTTP statuses after which the producer tries again: the hub is starting, draining, over a limit, or cannot write."""
_MAX_BACKOFF_S = 5.0


class ProducerError(Exception):
    """The hub cannot be reached, or refuses whole requests; the text says what to do."""


@dataclass(slots=True)
class Outcome:
    """The outcome of one batch."""

    accepted: int = 0
    duplicates: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)
    """(index in the batch, reason) of each refused event that the answer names."""
    unreported: int = 0
    """Refused events that the answer does not name: an answer names only the first few."""

    def add(self, other: "Outcome", offset: int) -> None:
        """Add the outcome of a part of the batch that began at ``offset``."""
        self.accepted += other.accepted
        self.duplicates += other.duplicates
        self.unreported += other.unreported
        self.refused.extend((offset + index, why) for index, why in other.refused)


class Producer:
    """One connection to a hub. Use it as an asynchronous context manager.

    Args:
        url: Where the hub is, like ``http://127.0.0.1:8080``; see :func:`hub.client.address.base_url`. It is reached through the HTTP proxy
            of the variables ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY``, if there is one.
        token: A bearer token, or empty; or a function that returns the present one.
        api_key: An API key, or empty.
        give_up_s: Seconds of failing without a break after which :meth:`send` raises.
        backoff_s: The pause before the second try; each pause is twice as long as the one before it, up to 5 s.
        past: Whether events may be older than the hub normally accepts; the credential needs the operation ``/ingest/past``.

    Raises:
        ValueError: ``url``, or the value of the proxy's variable, is no address.
    """

    __slots__ = ("_backoff_s", "_credentials", "_endpoint", "_give_up_s", "_proxy", "_session", "_stopping", "_url", "retries")

    def __init__(
        self, url: str, *, token: Credential = "", api_key: str = "", give_up_s: float = 60.0, backoff_s: float = 0.2, past: bool = False
    ) -> None:
        base = base_url(url)
        self._url = str(base).rstrip("/")
        self._endpoint = f"{self._url}{PATH}" + ("?past=true" if past else "")
        self._proxy = proxy_of(base)
        self._credentials = Credentials(token, api_key, in_ext=False, headers={"Content-Type": CONTENT_TYPE})
        self._give_up_s = give_up_s
        self._backoff_s = backoff_s
        self._session: aiohttp.ClientSession | None = None
        self._stopping = asyncio.Event()
        self.retries = 0

    def stop_trying(self) -> None:
        """Do not try again after a failure from now on: the command is to end."""
        self._stopping.set()

    async def __aenter__(self) -> "Producer":
        self._session = aiohttp.ClientSession(proxy=self._proxy, timeout=aiohttp.ClientTimeout(total=60, connect=10))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, events: Sequence[bytes]) -> Outcome:
        """Send a batch of encoded CloudEvents. Tries again while the hub cannot be reached; this is safe, since the hub drops repeats.

        Raises:
            ProducerError: the hub could not be reached for ``give_up_s``, or refuses these credentials or requests.
        """
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._give_up_s
        pause_s = self._backoff_s
        while True:
            try:
                http_status, answer = await self._post(b"[" + b",".join(events) + b"]")
            except CredentialError as error:
                raise ProducerError(str(error)) from error
            except aiohttp.ClientHttpProxyError as error:
                if error.status == 407:
                    raise ProducerError(f"{self._url}: {PROXY_CREDENTIALS}") from error
                reason = f"the HTTP proxy answered {error.status}"
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                reason = why(error)
            else:
                if http_status not in _AGAIN:
                    break
                reason = f"HTTP {http_status}: {_message(answer)}"
            if self._stopping.is_set():
                raise ProducerError(f"{self._url} did not take the last events: {reason}")
            if loop.time() + pause_s > give_up:
                raise ProducerError(f"{self._url} did not take events for {self._give_up_s:g} s; last: {reason}")
            self.retries += 1
            await self._pause(pause_s)
            pause_s = min(pause_s * 2, _MAX_BACKOFF_S)
        if http_status == 413 and len(events) > 1:
            return await self._halves(events)
        return self._read(http_status, answer, len(events))

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _post(self, body: bytes) -> tuple[int, Any]:
        assert self._session is not None, "use the producer in `async with`"
        async with self._session.post(self._endpoint, data=body, headers=await self._credentials.headers()) as response:
            raw = await response.read()
            try:
                return response.status, orjson.loads(raw)
            except orjson.JSONDecodeError:
                return response.status, None

    async def _halves(self, events: Sequence[bytes]) -> Outcome:
        """Send the events as two requests: the hub answered 413, the request was too large."""
        middle = len(events) // 2
        outcome = await self.send(events[:middle])
        outcome.add(await self.send(events[middle:]), middle)
        return outcome

    def _read(self, http_status: int, answer: Any, count: int) -> Outcome:
        try:
            if http_status == 200 or (http_status == 400 and answer["errors"]):
                data = answer["data"]
                refused = [(error["index"], error["status"]["message"]) for error in answer.get("errors", ())]
                return Outcome(data["accepted"], data["duplicates"], refused, answer["status"].get("detail", {}).get("moreErrors", 0))
        except (KeyError, TypeError):
            pass  # not the answer of a hub to a batch: the error below reports it
        if http_status == 413 and count == 1:
            return Outcome(refused=[(0, _message(answer))])
        hint = {
            401: "give a valid token with --token or HUB_TOKEN",
            403: "give a valid API key or a token whose role may send events (producer or admin; for --past /ingest/past, as admin)",
            407: PROXY_CREDENTIALS,
            404: "is this the address of a hub? give it with --url or HUB_URL",
        }.get(http_status)
        raise ProducerError(f"{self._url}{PATH} answered HTTP {http_status}: {_message(answer)}" + (f"; {hint}" if hint else ""))


def _message(answer: Any) -> str:
    """The message of an error envelope, or of the shorter form for unknown API keys."""
    try:
        return str(answer["status"]["message"])
    except (KeyError, TypeError):
        pass
    try:
        return str(answer["message"])
    except (KeyError, TypeError):
        return "no message"
