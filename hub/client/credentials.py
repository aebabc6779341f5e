"""The credential of a client: a token or an API key, in headers or in the handshake, which may change while it runs."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping

from hub.client.errors import CredentialError

Credential = str | Callable[[], str | Awaitable[str]]
"""A token or key, or a function that returns the present one."""


async def _present(name: str, credential: Credential) -> str:
    if isinstance(credential, str):
        return credential
    try:
        found = credential()
        found = await found if inspect.isawaitable(found) else found
    except CredentialError:
        raise
    except Exception as error:  # a user's function: the server that issues tokens may be unreachable for a while
        raise CredentialError(f"{name}: the function that gives it failed: {error!r}") from error
    if not isinstance(found, str):
        raise CredentialError(f"{name}: expected a text from the function that gives it, got {type(found).__name__}")
    return found


class Credentials:
    """A token, an API key, or neither.

    Args:
        token: A bearer token; empty for none.
        api_key: An API key; empty for none.
        in_ext: Send them in ``ext.authentication`` of the handshake, not in headers.
        headers: Other headers that go with each request.
    """

    __slots__ = ("_api_key", "_headers", "_in_ext", "_shown", "_token")

    def __init__(self, token: Credential, api_key: Credential, *, in_ext: bool, headers: Mapping[str, str]) -> None:
        self._token = token
        self._api_key = api_key
        self._in_ext = in_ext
        self._headers = dict(headers)
        self._shown: tuple[str, str] = ("", "")

    async def _both(self) -> tuple[str, str]:
        return await _present("token", self._token), await _present("api_key", self._api_key)

    async def headers(self) -> dict[str, str]:
        """The headers of a request that is made now.

        Raises:
            CredentialError: a function that gives a credential failed.
        """
        found = dict(self._headers)
        if not self._in_ext:
            token, api_key = self._shown = await self._both()
            if token:
                found["Authorization"] = f"Bearer {token}"
            if api_key:
                found["x-api-key"] = api_key
        return found

    async def authentication(self) -> dict[str, str] | None:
        """``ext.authentication`` of a handshake that is made now; None if the credentials are sent in headers.

        Raises:
            CredentialError: a function that gives a credential failed.
        """
        if not self._in_ext:
            return None
        token, api_key = self._shown = await self._both()
        found = {"token": token} if token else {}
        return found | ({"apiKey": api_key} if api_key else {}) or None

    async def newer(self) -> dict[str, str] | None:
        """``ext.authentication`` that shows a newer credential on a live session; None if there is none, or if the function that gives it
        failed: the session goes on with the one that it has.
        """
        before = self._shown
        try:
            token, api_key = self._shown = await self._both()
        except CredentialError:
            return None
        if (token, api_key) == before:
            return None
        return {"token": token} if token else {"apiKey": api_key} if api_key else None

    async def changed(self) -> bool:
        """Whether the credential differs from the one that was sent last. Also true if the function that gives it failed."""
        try:
            return await self._both() != self._shown
        except CredentialError:
            return True
