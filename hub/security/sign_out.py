"""Signs a browser out: its cookie is no use any more, nor is a copy of it (docs/authentication.md#ends)."""

from __future__ import annotations

from starlette.types import Scope

from hub.audit.log import AuditLog
from hub.security.ends import Ends
from hub.security.gate import Gate


class SignOut:
    """Ends the sign-ins of browsers, whichever page they sign out on."""

    __slots__ = ("_audit", "_ends", "_gate")

    def __init__(self, gate: Gate, ends: Ends, audit: AuditLog) -> None:
        """``audit`` is told who signed out."""
        self._gate = gate
        self._ends = ends
        self._audit = audit

    async def end(self, scope: Scope, address: str, client: str = "") -> None:
        """End the sign-in of the browser that sent a request; nothing, if it is not signed in. ``client`` is the id of the OAuth client
        whose token the browser signed in with.

        A browser that signed in with a token ends its own sign-in alone: the token is good elsewhere, and so is what was opened with it,
        which has the login of the token, whoever showed it.

        Raises:
            LookupUnavailableError: the database does not answer, so nobody is signed out.
            StorageError: it cannot be written.
        """
        found = await self._gate.signed_in(scope)
        if found is None:
            return
        sign_in, credential = found
        own = sign_in.discriminator
        login = "" if own is None else credential.principal(discriminator=own).token_login
        by = self._audit.caller(credential.tenant, credential.subject, address, client)
        await self._ends.end_sign_in(credential.tenant, sign_in.number, login, by)
        self._gate.refresh_soon()
