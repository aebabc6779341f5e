"""Signing in with a name and a password: for the hub's own pages, the sign-in page of OAuth, and the password grant."""

from __future__ import annotations

from hub.security.credentials import Credential
from hub.security.gate import Gate
from hub.security.models import is_name, is_tenant_name
from hub.security.passwords import verify_built_in, verify_password


class TooManyTriesError(Exception):
    """Too many tries failed; the next one is allowed after ``wait_s`` seconds."""

    def __init__(self, wait_s: int) -> None:
        super().__init__(f"too many failed sign-ins; try again in {wait_s} s")
        self.wait_s = wait_s


async def sign_in(gate: Gate, address: str, tenant: str, username: str, password: str) -> Credential | None:
    """The credential of a user; None if tenant, name or password is wrong, which takes the same time in each case.

    Raises:
        LookupUnavailableError: the database does not answer.
        TooManyTriesError: too many tries of this address failed for this user.
    """
    attempt = await gate.sign_ins.begin(address, tenant, username)
    if attempt.wait_s > 0:
        raise TooManyTriesError(attempt.wait_s)
    # names that no tenant or user can have are not looked up: for a NUL, PostgreSQL would report an error instead of no result
    known = is_tenant_name(tenant) and is_name(username)
    credential, built_in = await gate.directory.by_user(tenant, username) if known else (None, False)
    if credential is not None and built_in:
        good = verify_built_in(password, credential.fingerprint)
    else:
        good = await verify_password(password, None if credential is None else credential.fingerprint)
    if not good:
        await gate.sign_ins.failed(attempt)
        return None
    await gate.sign_ins.succeeded(attempt)
    return credential
