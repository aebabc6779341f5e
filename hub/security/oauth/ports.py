"""What the authorization server needs from outside: a store whose steps are atomic, users, and time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from hub.security.oauth.models import Client, Code, Family, NewTokens, Person

IssueForCode = Callable[[Code, Person], NewTokens]
"""Checks a code that was claimed, and says what to store. It runs inside the transaction, and raises
:class:`hub.security.oauth.errors.OAuthError` if the code is not for the request; the code is used up all the same."""

IssueForRefresh = Callable[[Family, Person | None], NewTokens]
"""The same for a refresh token that was claimed."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks for a step, for the audit log."""

    client: str
    """The id of the client that has shown who it is, or of which a token is."""
    address: str
    """Where the request comes from."""
    subject: str = ""
    """The user who asks; empty: the client does."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A token that is good, as introspection and userinfo tell of it."""

    family: Family | None
    """None for a token that the command line made."""
    tenant: str
    subject: str
    scopes: tuple[str, ...]
    created_ms: int
    expires_ms: int | None
    person: Person | None
    refresh: bool = False
    """Whether it is a refresh token."""


class OAuthStore(Protocol):
    """Clients, codes and tokens. Each method is one transaction (docs/adr/one-writer.md)."""

    async def client(self, client_id: str) -> Client | None:
        """A client by its id."""
        ...

    async def add_code(self, digest: str, code: Code) -> None:
        """Store a code by its hash. Of too many codes of the same user and client the oldest are removed."""
        ...

    async def redeem_code(self, digest: str, issue: IssueForCode, asker: Asker) -> tuple[Code, Person]:
        """Claim a code, once, and store the tokens for it.

        Raises:
            OAuthError: ``invalid_grant``: it is unknown, has expired, or was used before. In the last case every token that came of it
                ends (RFC 6749 section 4.1.2). Whatever ``issue`` raises.
        """
        ...

    async def rotate(self, digest: str, issue: IssueForRefresh, asker: Asker) -> tuple[Family, Person | None]:
        """Claim a refresh token, once, and store its successor. Of too many access tokens of the family the oldest end; of its refresh
        tokens that were used long ago nothing is known any more.

        Raises:
            OAuthError: ``invalid_grant``: it is unknown or has expired, or was used before, in which case its family ends
                (RFC 9700 section 4.14.2). Whatever ``issue`` raises.
        """
        ...

    async def add_tokens(self, tokens: NewTokens, asker: Asker) -> None:
        """Store the first tokens of a family."""
        ...

    async def show(self, digest: str) -> Shown | None:
        """A token that is good, by its hash; None if there is none, or it has ended."""
        ...

    async def client_and_token(self, client_id: str, digest: str) -> tuple[Client | None, Shown | None]:
        """What :meth:`client` and :meth:`show` find, read at once."""
        ...

    async def end_family(self, family: str, asker: Asker) -> None:
        """End every token of a family."""
        ...


class Users(Protocol):
    """Checks names and passwords of users."""

    async def check(self, client: Client, tenant: str, name: str, password: str, address: str) -> Person | None:
        """The user, if the password is right and the user is of the tenant of the client by which somebody signs in.

        Raises:
            OAuthError: ``slow_down`` with status 429: too many tries failed.
        """
        ...
