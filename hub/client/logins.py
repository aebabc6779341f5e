"""Logins of the command line that were kept: a file in the user's configuration folder, which nobody else can read."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import aiohttp
from yarl import URL

from hub.client.address import base_url, proxy_of
from hub.client.errors import CredentialError
from hub.client.unreachable import why

EARLY_S: Final = 60
"""Seconds before its end in which a token is refreshed."""
TIMEOUT_S: Final = 30


class LoginError(CredentialError):
    """There is no login, or it has ended; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Login:
    """A login at a hub."""

    client_id: str
    token_url: str
    revoke_url: str
    access_token: str
    refresh_token: str
    """Empty: the client may not refresh."""
    expires_s: float
    """When the access token ends, in seconds since 1970 UTC."""


def logins_file(environment: Mapping[str, str] = os.environ) -> Path:
    """Where logins are kept (XDG Base Directory Specification)."""
    folder = environment.get("XDG_CONFIG_HOME") or str(Path(environment.get("HOME") or "~").expanduser() / ".config")
    return Path(folder) / "cx-event-hub" / "logins.json"


class Logins:
    """The logins of a file, by the address of the hub. Processes that use it take turns, because each refresh token is good once."""

    __slots__ = ("_path",)

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or logins_file()

    def find(self, url: str) -> Login | None:
        """The login at a hub.

        Raises:
            LoginError: the file cannot be read, or is none of these.
            ValueError: the text is not the address of a hub.
        """
        found = self._read().get(_key(url))
        try:
            return None if found is None else Login(**found)
        except TypeError:
            raise LoginError(f"{self._path}: expected logins of `hub login`, got another form; remove the file and log in again") from None

    def elsewhere(self, url: str) -> list[str]:
        """The addresses of the hubs where there is a login, but that at ``url``.

        Raises:
            LoginError: see :meth:`find`.
            ValueError: the text is not the address of a hub.
        """
        return sorted(self._read().keys() - {_key(url)})

    def keep(self, url: str, login: Login | None) -> None:
        """Keep a login, or with None forget it.

        Raises:
            LoginError: see :meth:`find`.
            OSError: the file cannot be written.
        """
        with self._locked():
            self._keep(_key(url), login)

    async def token(self, url: str) -> str:
        """The access token of the login at a hub, refreshed if it is about to end.

        Raises:
            LoginError: there is no login, or it has ended.
            OSError: the file cannot be written.
        """
        login = self.find(url)
        if login is not None and login.expires_s - time.time() > EARLY_S:
            return login.access_token
        lock = self._locked()
        await asyncio.to_thread(lock.__enter__)  # another process may be refreshing
        try:
            login = self.find(url)
            if login is None:
                raise LoginError(f"nobody is logged in at {url}: hub login --url {url}")
            if login.expires_s - time.time() <= EARLY_S:
                login = await _refreshed(url, login)
                self._keep(_key(url), login)
            return login.access_token
        finally:
            lock.__exit__(None, None, None)

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise LoginError(f"{self._path}: expected logins of `hub login`, got: {error}") from error
        if not isinstance(found, dict):
            raise LoginError(f"{self._path}: expected logins of `hub login`, got another form; remove the file and log in again")
        return found

    def _keep(self, key: str, login: Login | None) -> None:
        found = self._read()
        if login is None:
            found.pop(key, None)
        else:
            found[key] = asdict(login)
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix="logins.")  # mode 0600
        try:
            with os.fdopen(handle, "w") as made:
                json.dump(found, made, indent=1)
            Path(name).replace(self._path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


async def post(url: str, form: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    """Send a form; returns the status and the JSON of the answer.

    Raises:
        LoginError: the hub cannot be reached, or its answer is no JSON.
    """
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with aiohttp.ClientSession(proxy=proxy_of(URL(url)), timeout=timeout) as http, http.post(url, data=form) as response:
            answer = await response.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise LoginError(f"{url}: {why(error)}") from error
    return response.status, answer if isinstance(answer, dict) else {}


async def _refreshed(url: str, login: Login) -> Login:
    ended = f"the login at {url} has ended: hub login --url {url}"
    if not login.refresh_token:
        raise LoginError(ended)
    form = {"grant_type": "refresh_token", "client_id": login.client_id, "refresh_token": login.refresh_token}
    status, answer = await post(login.token_url, form)
    if status != 200:
        raise LoginError(f"{ended} ({answer.get('error', f'HTTP {status}')})")
    return of_answer(login, answer)


def of_answer(login: Login, answer: Mapping[str, Any]) -> Login:
    """A login with the tokens of an answer of the token endpoint (RFC 6749 section 5.1).

    Raises:
        LoginError: it has none.
    """
    try:
        token, lasts_s = str(answer["access_token"]), float(answer.get("expires_in", 0))
    except (KeyError, TypeError, ValueError):
        raise LoginError("the token endpoint's answer: expected access_token and expires_in, got something else") from None
    refresh = str(answer.get("refresh_token") or login.refresh_token)
    return replace(login, access_token=token, refresh_token=refresh, expires_s=time.time() + lasts_s)


def _key(url: str) -> str:
    """What a login is kept by. ``localhost`` is ``127.0.0.1``: guides write the one, and the commands' default is the other."""
    base = base_url(url)
    return str(base.with_host("127.0.0.1") if base.host == "localhost" else base).rstrip("/")
