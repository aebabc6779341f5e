"""A hub with a user, and with clients of each kind, for the libraries that ask it for tokens."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from tests.support.hub_process import HubProcess

USER: Final = "ana"
PASSWORD: Final = "correct horse battery"
SECONDS: Final = 60

_LOOPBACK: Final = ("--redirect-uri", "http://127.0.0.1/cb")
_CLIENTS: Final = {
    "crm": _LOOPBACK,
    "night": ("--grant", "client_credentials", "--role", "viewer"),
    "tutorial": ("--grant", "password", "--grant", "refresh_token"),
}
"""The clients with a secret, and how each is made."""


@dataclass
class OAuthHub:
    """The hub: its issuer, the secrets of its clients, and an API key of their tenant."""

    process: HubProcess
    secrets: dict[str, str]
    api_key: str

    @property
    def issuer(self) -> str:
        return f"{self.process.url}/auth/v3"

    def me(self, token: str) -> httpx.Response:
        return httpx.get(f"{self.process.url}/api/v1/me", headers={"Authorization": f"Bearer {token}"}, timeout=SECONDS)

    def wait_ended(self, token: str) -> None:
        """Wait until the hub refuses a token: it looks once a second for what has ended.

        Raises:
            AssertionError: it is still good.
        """
        until = time.monotonic() + SECONDS
        while self.me(token).status_code != httpx.codes.UNAUTHORIZED:
            assert time.monotonic() < until, "the token is still good"
            time.sleep(0.05)


def run_oauth_hub(folder: Path) -> Iterator[OAuthHub]:
    """The hub, while it runs. Its public client is ``wall``."""
    made = HubProcess(folder, flags=(), environment={"HUB_AUTH__TOKEN_REQUESTS_PER_S": "0", "HUB_AUTH__PAGES_PER_S": "0"})
    made.command("tenant", "add", "acme")
    made.command("user", "add", USER, "--role", "supervisor", "--password", PASSWORD)
    made.command("client", "add", "wall", "--public", *_LOOPBACK)
    secrets = {name: json.loads(made.command("client", "add", name, *how, "--json"))["secret"] for name, how in _CLIENTS.items()}
    key = json.loads(made.command("key", "add", "gateway", "--role", "viewer", "--json"))["key"]
    made.start()
    yield OAuthHub(made, secrets, key)
    made.close()
