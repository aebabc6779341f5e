"""The clients that speak over HTTP: long-polling, and callback-polling by hand, as a script element would ask."""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections.abc import Sequence
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import quote

from tests.conformance.clients import Client, Message, Pending, decode
from tests.conformance.rules import CALLBACK_POLLING, LONG_POLLING
from tests.conformance.wire import Endpoint, Headers, Request, Response, request

JSON_TYPE = ("Content-Type", "application/json;charset=UTF-8")

_CALLBACK = re.compile(r"(?:/\*\*/)?\s*([A-Za-z0-9_.\-]+)\((.*)\);?\s*", re.DOTALL)


class PollingClient(Client):
    """What both have in common: a request for each exchange, on a connection of its own."""

    def __init__(self, endpoint: Endpoint, *, cookies: dict[str, str] | None = None, **options: Any) -> None:
        """``cookies``: the jar, which clients of one browser share."""
        super().__init__(endpoint, **options)
        self.cookies = {} if cookies is None else cookies
        self.response: Response | None = None
        """The last response that came."""

    @abstractmethod
    def build(self, text: str) -> Request:
        """The request that carries a JSON text."""

    def build_messages(self, *messages: Message) -> Request:
        """The request that carries messages, for a test that looks at its response itself."""
        return self.build(json.dumps(messages))

    @abstractmethod
    def read(self, response: Response) -> list[Message]:
        """The messages of a response.

        Raises:
            AssertionError: it has another status than 200, or holds something else.
        """

    async def send(self, *messages: Message) -> Pending:
        one = self.build_messages(*messages)
        await one.send()
        return self._sent(messages, self._answer(one))

    async def send_text(self, text: str) -> list[Message]:
        one = self.build(text)
        await one.send()
        return await self._sent([], self._answer(one)).result()

    async def _answer(self, one: Request) -> list[Message]:
        async with one:
            return self.read(self.took(await one.response()))

    def took(self, response: Response) -> Response:
        """Remember a response and its cookies."""
        self.response = response
        for header in response.all("Set-Cookie"):
            self.cookies |= {name: morsel.value for name, morsel in SimpleCookie(header).items()}
        return response

    async def settle(self) -> None:
        """A request behind those that were sent, which has no effect."""
        await request(self.endpoint, "OPTIONS", self.endpoint.target(self.suffix))

    def all_headers(self) -> list[tuple[str, str]]:
        """The headers of each request, the jar's cookies among them."""
        if not self.cookies:
            return self.headers
        return [*self.headers, ("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))]


class LongPollingClient(PollingClient):
    """Bayeux over HTTP POST (docs/protocol/bayeux.md#long-polling)."""

    transport = LONG_POLLING

    def build(self, text: str) -> Request:
        return Request(self.endpoint, "POST", self.endpoint.target(self.suffix), [JSON_TYPE, *self.all_headers()], text.encode())

    def read(self, response: Response) -> list[Message]:
        assert response.status == 200, f"expected status 200, got {response.status}: {response.body[:300]!r}"
        messages = decode(response.body)
        self._arrived(messages)
        return messages

    async def post(self, body: bytes | Sequence[bytes], headers: Headers = (JSON_TYPE,), suffix: str = "") -> Response:
        """One POST, with the headers given and the jar's cookies; a list of bytes goes as chunks."""
        target = self.endpoint.target(suffix or self.suffix)
        return self.took(await request(self.endpoint, "POST", target, [*headers, *self.all_headers()], body))


class CallbackClient(PollingClient):
    """Bayeux as a script (docs/protocol/bayeux.md#callback-polling). Script elements of other sites bring cookies along: nothing may hang
    on them.
    """

    transport = CALLBACK_POLLING
    callback = "_cometd_jsonp_1"

    def build(self, text: str) -> Request:
        return self.script(message=text, jsonp=self.callback)

    def script(self, *, message: str | Sequence[str] = (), jsonp: str | None = None) -> Request:
        """The request for a script; each text of ``message`` is a parameter of its own, without ``jsonp`` there is none."""
        texts = [message] if isinstance(message, str) else message
        pairs = [] if jsonp is None else [("jsonp", jsonp)]
        pairs += [("message", text) for text in texts]
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in pairs)
        return Request(self.endpoint, "GET", self.endpoint.target(f"{self.suffix}?{query}"), self.all_headers())

    async def get(self, *, message: str | Sequence[str] = (), jsonp: str | None = None) -> Response:
        """One request for a script, and its response as it is."""
        async with self.script(message=message, jsonp=jsonp) as one:
            await one.send()
            return self.took(await one.response())

    def read(self, response: Response) -> list[Message]:
        _, messages = self.called(response)
        self._arrived(messages)
        return messages

    @staticmethod
    def called(response: Response) -> tuple[str, list[Message]]:
        """The name of the function that a script calls, and the messages that it gets.

        Raises:
            AssertionError: it is no such script.
        """
        assert response.status == 200, f"expected status 200, got {response.status}: {response.body[:300]!r}"
        call = _CALLBACK.fullmatch(response.body.decode())
        assert call is not None, f"expected a call of a function with an array, got {response.body[:300]!r}"
        return call[1], decode(call[2])
