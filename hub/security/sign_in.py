"""Signing in with a name and a password: for the hub's own pages, the sign-in page of OAuth, and the password grant."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hub.security.credentials import Credential
from hub.security.gate import Gate
from hub.security.models import is_name, is_tenant_name
from hub.security.passwords import verify_built_in, verify_password


class TooManyTriesError(Exception):
    """Too many tries failed, or wait to be checked; the next one is allowed after ``wait_s`` seconds."""

    def __init__(self, wait_s: int, why: str = "too many failed sign-ins") -> None:
        super().__init__(f"{why}; try again in {wait_s} s")
        self.wait_s = wait_s


async def sign_in(gate: Gate, address: str, tenant: str, username: str, password: str) -> Credential | None:
    """The credential of a user; None if tenant, name or password is wrong, which takes the same time in each case.

    Raises:
        LookupUnavailableError: the database does not answer.
        TooManyTriesError: too many tries of this address failed for this user, or too many passwords of it wait to be checked.
    """
    async with trying(gate, address, tenant, username) as attempt:
        credential, built_in = await find_user(gate, tenant, username)
        if credential is not None and built_in:
            good = verify_built_in(password, credential.fingerprint)
        else:
            good = await verify_password(password, None if credential is None else credential.fingerprint)
        attempt.good = good
        return credential if good else None


async def find_user(gate: Gate, tenant: str, username: str) -> tuple[Credential | None, bool]:
    """The credential of a user by the names that somebody typed, and whether it is the user of ``--demo``. Names that no tenant or user can
    have are not looked up: for a NUL, PostgreSQL would report an error instead of no result.
    """
    known = is_tenant_name(tenant) and is_name(username)
    return await gate.directory.by_user(tenant, username) if known else (None, False)


@asynccontextmanager
async def trying(gate: Gate, address: str, tenant: str, username: str) -> AsyncIterator[Try]:
    """A try with a user's password, with its place among those that wait. It has failed unless the caller says that it was good.

    Raises:
        TooManyTriesError: see :func:`sign_in`.
    """
    if not gate.hashing.enter(address):
        raise TooManyTriesError(1, "too many passwords wait to be checked")
    try:
        attempt = await gate.sign_ins.begin(address, tenant, username)
        if attempt.wait_s > 0:
            raise TooManyTriesError(attempt.wait_s)
        tried = Try()
        yield tried
        await (gate.sign_ins.succeeded(attempt) if tried.good else gate.sign_ins.failed(attempt))
    finally:
        gate.hashing.leave(address)


class Try:
    """One try with a password."""

    __slots__ = ("good",)

    def __init__(self) -> None:
        self.good = False
        """Whether the password was right."""
