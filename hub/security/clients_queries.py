"""Reads and writes the rows of OAuth clients, inside transactions."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Final

from hub.security.oauth.models import Client, Grant, Lifetimes
from hub.security.queries import decoded
from hub.storage.transactions import Row, Transaction

_COLUMNS: Final = (
    "id, tenant, name, public, secrets, grants, roles, redirect_uris, post_logout_uris, origins, frame_origins, pkce, consent, lifetimes"
)
CLIENTS: Final = f"SELECT {_COLUMNS} FROM clients"  # noqa: S608  the hub's own columns


DEMO_CLIENT: Final = "demo-app"
"""The id of the client of ``--demo``; no other client has it."""


def client_of(row: Row) -> Client:
    """The client of a row of :data:`CLIENTS`."""
    identifier, tenant, name, public, secrets, grants, roles, redirect_uris, post_logout_uris, origins, frames, pkce, consent, lives = row
    return Client(
        id=identifier,
        tenant=tenant,
        name=name,
        public=bool(public),
        grants=frozenset(map(Grant, decoded(grants))),
        secrets=tuple(decoded(secrets)),
        roles=None if roles is None else tuple(decoded(roles)),
        redirect_uris=tuple(decoded(redirect_uris)),
        post_logout_uris=tuple(decoded(post_logout_uris)),
        origins=tuple(decoded(origins)),
        frame_origins=tuple(decoded(frames)),
        pkce=bool(pkce),
        consent=bool(consent),
        lifetimes=Lifetimes(**decoded(lives)),
    )


def count_origins(tx: Transaction, tenant: str) -> int:
    """How many origins the clients of a tenant have registered together."""
    rows = tx.rows("SELECT origins FROM clients WHERE tenant = ? AND CAST(origins AS TEXT) <> '[]'", (tenant,))
    return sum(len(decoded(origins)) for (origins,) in rows)


def insert_client(tx: Transaction, client: Client, now_ms: int) -> None:
    """Add the row of a client."""
    lists = (client.redirect_uris, client.post_logout_uris, client.origins, client.frame_origins)
    tx.run(
        f"INSERT INTO clients ({_COLUMNS}, created_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
        (
            *(client.id, client.tenant, client.name, int(client.public), json.dumps(client.secrets)),
            json.dumps(sorted(client.grants)),
            None if client.roles is None else json.dumps(client.roles),
            *map(json.dumps, lists),
            *(int(client.pkce), int(client.consent), json.dumps(asdict(client.lifetimes)), now_ms),
        ),
    )


def update_client(tx: Transaction, client: Client) -> None:
    """Store what may be changed of a client; its secrets stay."""
    lists = (client.redirect_uris, client.post_logout_uris, client.origins, client.frame_origins)
    tx.run(
        "UPDATE clients SET name = ?, grants = ?, roles = ?, redirect_uris = ?, post_logout_uris = ?, origins = ?, frame_origins = ?, "
        "pkce = ?, consent = ?, lifetimes = ? WHERE id = ?",
        (
            *(client.name, json.dumps(sorted(client.grants)), None if client.roles is None else json.dumps(client.roles)),
            *map(json.dumps, lists),
            *(int(client.pkce), int(client.consent), json.dumps(asdict(client.lifetimes)), client.id),
        ),
    )
