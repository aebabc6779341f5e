"""Signing in with a name and a password: for the hub's own pages, the sign-in page of OAuth, and the password grant."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hub.audit.sign_ins import SignInLog
from hub.security.connections import address_key
from hub.security.credentials import Credential
from hub.security.gate import Gate
from hub.security.models import is_name, is_tenant_name
from hub.security.passwords import verify_built_in


class TooManyTriesError(Exception):
    """Too many tries failed, or wait to be checked; the next one is allowed after ``wait_s`` seconds."""

    def __init__(self, wait_s: int, why: str = "too many failed sign-ins") -> None:
        super().__init__(f"{why}; try again in {wait_s} s")
        self.wait_s = wait_s


async def sign_in(
    gate: Gate,
    log: SignInLog,
    address: str,
    tenant: str,
    username: str,
    password: str,
    client: str = "",
    device: str | None = None,
    *,
    within: str | None = None,
) -> Credential | None:
    """The credential of a user; None if tenant, name or password is wrong, which takes the same time in each case. ``log`` is told what
    came of it; ``client`` is the id of the OAuth client for which the user signs in; ``device``: see :func:`trying`.
    ``within`` is the tenant of that client: a user of another one is nobody there, and neither the answer, nor the limits, nor the log tell
    whether the password was right.

    Raises:
        LookupUnavailableError: the database does not answer.
        StorageError: the database cannot be written, so that the audit log would not know of the sign-in.
        TooManyTriesError: too many tries of this address failed, or too many passwords of it or for this user wait to be checked.
    """
    async with trying(gate, log, address, tenant, username, client, device) as attempt:
        credential, built_in = (None, False) if within not in (None, tenant) else await find_user(gate, tenant, username)
        if credential is not None and built_in:
            good = verify_built_in(password, credential.fingerprint)
        else:
            good = await gate.passwords.verify(password, None if credential is None else credential.fingerprint)
        attempt.good = good
    if not good or credential is None:
        return None
    await log.succeeded(tenant, username, address, client)
    return credential


async def find_user(gate: Gate, tenant: str, username: str) -> tuple[Credential | None, bool]:
    """The credential of a user by the names that somebody typed, and whether it is the user of ``--demo``. Names that no tenant or user can
    have are not looked up: for a NUL, PostgreSQL would report an error instead of no result.
    """
    known = is_tenant_name(tenant) and is_name(username)
    return await gate.directory.by_user(tenant, username) if known else (None, False)


@asynccontextmanager
async def trying(
    gate: Gate, log: SignInLog, address: str, tenant: str, username: str, client: str = "", device: str | None = None
) -> AsyncIterator[Try]:
    """A try with a user's password, with its place among those that wait. It has failed unless the caller says that it was good; ``log`` is
    told of a failure. ``device`` is the number of a browser in which the user has signed in before (:mod:`hub.security.devices`).

    Raises:
        TooManyTriesError: see :func:`sign_in`.
    """
    source = address_key(address)
    _enter(gate, source)
    waits_for_hash = True
    try:
        attempt = await gate.sign_ins.begin(address, tenant, username, device)
        if attempt.wait_s > 0:
            log.braked(tenant, username, address, client)
            raise TooManyTriesError(attempt.wait_s)
        if attempt.slowed:
            gate.hashing.leave(source)  # others do not wait behind it
            waits_for_hash = False
            if not await gate.sign_ins.slow_down(attempt):
                log.braked(tenant, username, address, client)
                raise TooManyTriesError(math.ceil(gate.sign_ins.delay_s), "too many tries for this user wait to be checked")
            _enter(gate, source)
            waits_for_hash = True
        tried = Try()
        yield tried
        if tried.good:
            await gate.sign_ins.succeeded(attempt)
        else:
            log.failed(tenant, username, address, client)
            await gate.sign_ins.failed(attempt)
    finally:
        if waits_for_hash:
            gate.hashing.leave(source)


def _enter(gate: Gate, address: str) -> None:
    if not gate.hashing.enter(address):
        raise TooManyTriesError(1, "too many passwords wait to be checked")


class Try:
    """One try with a password."""

    __slots__ = ("good",)

    def __init__(self) -> None:
        self.good = False
        """Whether the password was right."""
