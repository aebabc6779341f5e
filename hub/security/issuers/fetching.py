"""Fetches key sets and discovery documents over HTTP, from addresses that the hub may connect to (:class:`hub.outbox.guard.Guard`)."""

from __future__ import annotations

import asyncio
import json
from typing import Final

import aiohttp

from hub import __version__
from hub.core.secret_names import url_without_secrets
from hub.outbox.client_errors import described
from hub.outbox.guard import Guard
from hub.outbox.resolver import GuardedResolver, Resolver
from hub.security.issuers.keys import MAX_BYTES, KeysUnavailableError
from hub.security.issuers.settings import IssuerSettings

TIMEOUT_S: Final = 10.0
_RESOLVE_THREADS: Final = 2


class Fetcher:
    """Fetches documents of issuers. A redirect is not followed: its address was not in the settings."""

    __slots__ = ("_guard", "_resolver", "_session")

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._resolver: GuardedResolver | None = None
        self._session: aiohttp.ClientSession | None = None

    async def stop(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
        if self._resolver is not None:
            await self._resolver.close()
        self._session = self._resolver = None

    async def key_set(self, issuer: IssuerSettings) -> bytes:
        """The key set of an issuer, from where the settings or its discovery document say.

        Raises:
            KeysUnavailableError: it cannot be had, or the document is of another issuer.
        """
        url = issuer.jwks_url
        if url is None:
            url = self._keys_of(issuer, await self._get(f"{issuer.issuer.rstrip('/')}/.well-known/openid-configuration", issuer))
        return await self._get(url, issuer)

    def _keys_of(self, issuer: IssuerSettings, document: bytes) -> str:
        """The address of the keys in a discovery document (OpenID Connect Discovery section 4.3)."""
        try:
            found = json.loads(document)
            name, url = found["issuer"], found["jwks_uri"]
        except (ValueError, RecursionError, KeyError, TypeError):
            raise KeysUnavailableError("the discovery document has no issuer and jwks_uri") from None
        if name != issuer.issuer:
            raise KeysUnavailableError(f"the discovery document is of the issuer {str(name)[:200]!r}, expected {issuer.issuer!r}")
        if not isinstance(url, str):
            raise KeysUnavailableError("the discovery document: jwks_uri: expected a text")
        return url

    async def _get(self, url: str, issuer: IssuerSettings) -> bytes:
        if not url.startswith(("https://", "http://") if issuer.http else "https://"):
            shown = url_without_secrets(url)[:200]
            raise KeysUnavailableError(f"expected a URL that begins with https://, got {shown!r} (auth.issuers: http)")
        shown = url_without_secrets(url)
        try:
            self._guard.check_url(url)
        except ValueError as error:
            raise KeysUnavailableError(f"{shown} cannot be fetched: {error}") from None
        try:
            async with asyncio.timeout(TIMEOUT_S), self._opened().get(url, allow_redirects=False) as answer:
                if answer.status != 200:
                    raise KeysUnavailableError(f"{shown} answered {answer.status}, expected 200")
                body = bytearray()
                async for piece in answer.content.iter_any():
                    body += piece
                    if len(body) > MAX_BYTES:
                        raise KeysUnavailableError(f"{shown} answered more than {MAX_BYTES} bytes")
                return bytes(body)
        except TimeoutError:
            raise KeysUnavailableError(f"{shown} did not answer within {TIMEOUT_S:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError, UnicodeError) as error:
            raise KeysUnavailableError(f"{shown} cannot be fetched: {described(error)[1]}") from None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._resolver = GuardedResolver(self._guard, Resolver(_RESOLVE_THREADS, 1.0))
            connector = aiohttp.TCPConnector(
                limit=8, resolver=self._resolver, socket_factory=self._guard.socket_factory, force_close=True, ttl_dns_cache=10
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
                headers={"User-Agent": f"CX-Event-Hub/{__version__}", "Accept": "application/json", "Accept-Encoding": "identity"},
            )
        return self._session
