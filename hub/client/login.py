"""Signs a person in at a hub in a browser, for the command line (RFC 8252): a redirect to a port of this machine, with PKCE."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
from aiohttp import web
from yarl import URL

from hub.client.address import base_url, proxy_of
from hub.client.logins import TIMEOUT_S, Login, LoginError, of_answer, post
from hub.client.unreachable import NEXT_STEP, NOTHING_LISTENS, why

CLIENT_ID: Final = "hub-cli"
"""The client that is asked for unless another is named; an administrator registers it."""

CALLBACK: Final = "/cb"
_METADATA: Final = "/.well-known/oauth-authorization-server/auth/v3"


async def log_in(url: str, client_id: str, *, show: Callable[[str], object], within_s: float) -> Login:
    """Sign in. ``show`` is called with the address that the person's browser has to open.

    Raises:
        LoginError: the hub does not know the client, nobody has signed in within ``within_s`` seconds, the hub refuses, or it cannot be
            reached.
        ValueError: ``url`` is not the address of a hub.
    """
    metadata = await _metadata(base_url(url))
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    callback = _Callback(state, metadata["issuer"])
    runner = web.AppRunner(callback.app(), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)  # a port that is free (RFC 8252 section 7.3)
        await site.start()
        port = runner.addresses[0][1]
        redirect_uri = f"http://127.0.0.1:{port}{CALLBACK}"
        query = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": redirect_uri,
            "scope": "*",
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        address = f"{metadata['authorization_endpoint']}?{urlencode(query)}"
        await _check_client(address, url, client_id)
        show(address)
        try:
            async with asyncio.timeout(within_s):
                code = await callback.code
        except TimeoutError:
            raise LoginError(f"nobody has signed in within {within_s:g} s; once more: hub login --url {url}") from None
        form = {"grant_type": "authorization_code", "client_id": client_id, "code": code, "redirect_uri": redirect_uri}
        status, answer = await post(metadata["token_endpoint"], {**form, "code_verifier": verifier})
    finally:
        await runner.cleanup()
    if status != 200:
        raise LoginError(f"the hub gave no token: {answer.get('error_description') or answer.get('error') or f'HTTP {status}'}")
    return of_answer(Login(client_id, metadata["token_endpoint"], metadata["revocation_endpoint"], "", "", 0), answer)


async def log_out(login: Login) -> None:
    """End a login at its hub (RFC 7009).

    Raises:
        LoginError: the hub cannot be reached, or refuses.
    """
    token = login.refresh_token or login.access_token
    status, answer = await post(login.revoke_url, {"client_id": login.client_id, "token": token})
    if status != 200:
        raise LoginError(f"the hub did not end the login: {answer.get('error_description') or f'HTTP {status}'}")


class _Callback:
    """What the browser comes back to."""

    def __init__(self, state: str, issuer: str) -> None:
        self._state = state
        self._issuer = issuer
        self.code: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get(CALLBACK, self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.Response:
        query = request.query
        # what is not the answer to our own request changes nothing (RFC 6749 section 10.12; RFC 9207 section 2.4)
        ours = secrets.compare_digest(query.get("state", "").encode(), self._state.encode())
        if not ours or query.get("iss", self._issuer) != self._issuer or self.code.done():
            return _page("This page belongs to no login that waits.", 400)
        if "code" in query:
            self.code.set_result(query["code"])
            return _page("Signed in. Close this page and go back to the terminal.", 200)
        why_not = query.get("error_description") or query.get("error") or "no code"
        self.code.set_exception(LoginError(f"the hub refused: {why_not}"))
        return _page(f"Not signed in: {why_not}", 200)


def _page(text: str, status: int) -> web.Response:
    body = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>hub login</title><p>{html.escape(text)}</p></html>'
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "Content-Security-Policy": "default-src 'none'"}
    return web.Response(text=body, status=status, content_type="text/html", headers=headers)


async def _check_client(address: str, url: str, client_id: str) -> None:
    """Ask for the sign-in page as the browser will. The hub answers with an error page at once where the client is wrong: this is told
    before anybody waits, with the command that helps.

    Raises:
        LoginError: the client is unknown, or may not redirect to a port of this machine; or the hub cannot be reached.
    """
    page = URL(address, encoded=True)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(proxy=proxy_of(page), timeout=timeout) as http,
            http.get(page, allow_redirects=False) as response,
        ):
            status = response.status
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise LoginError(f"{page.with_query(None)}: {why(error)}") from error
    callback = f"--redirect-uri http://127.0.0.1{CALLBACK}"
    match status:
        case 401:
            raise LoginError(
                f"the hub at {url} knows no client {client_id}; "
                f"an administrator registers it: hub client add {client_id} --public {callback}"
            )
        case 400:
            raise LoginError(
                f"the client {client_id} of the hub at {url} may not redirect to http://127.0.0.1{CALLBACK}; "
                f"an administrator allows it, beside what `hub client show {client_id}` tells: hub client change {client_id} {callback}"
            )


async def _metadata(url: URL) -> Mapping[str, str]:
    """The authorization server's own description (RFC 8414)."""
    where = url.with_path(_METADATA)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with aiohttp.ClientSession(proxy=proxy_of(url), timeout=timeout) as http, http.get(where) as response:
            found: Any = await response.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        reason = why(error)
        raise LoginError(f"{where}: {reason}{f'; {NEXT_STEP}' if NOTHING_LISTENS in reason else ''}") from error
    names = ("issuer", "authorization_endpoint", "token_endpoint", "revocation_endpoint")
    if response.status != 200 or not isinstance(found, dict) or not all(isinstance(found.get(name), str) for name in names):
        raise LoginError(f"{where}: expected the description of an authorization server, got HTTP {response.status}; is it a hub?")
    return {name: found[name] for name in names}
