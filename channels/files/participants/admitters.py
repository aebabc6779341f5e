"""Whether the credentials that let agents, supervisors and bots in still hold: such a participant ends with them
(docs/protocol/participants.md#tokens). Customers stay.
"""

from __future__ import annotations

from typing import Final

from channels.files.participants.models import Participant, Role
from hub.core.principal import Principal
from hub.security.directory import Directory

_SHORT_LIVED: Final = frozenset({"access", "external"})
"""Kinds of credentials that are renewed while the one who holds them goes on: what ends is the user whom they stand for."""


class Admitters:
    """Those who let participants in."""

    __slots__ = ("_directory",)

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    @property
    def generation(self) -> int:
        """Differs after each change of credentials, tenants and users that this node has heard of."""
        return self._directory.generation

    async def mark(self, caller: Principal) -> str:
        """What is kept of the credential of a caller: its id, the generation of its secret, and the login of its sign-in. Empty: it ends
        with nothing that the hub can see.

        Raises:
            LookupUnavailableError: the database does not answer.
        """
        if not caller.credential:
            return ""
        found = await self._directory.by_id(caller.credential)
        if found is None:  # it has ended since the caller was identified: so has the participant
            return f"{caller.credential}#0#{caller.token_login}"
        if found.id.partition(":")[0] in _SHORT_LIVED:
            found = None if found.user is None else await self._directory.by_id(f"user:{found.user}")
        return "" if found is None else f"{found.id}#{found.generation}#{caller.token_login}"

    async def holds(self, participant: Participant) -> bool:
        """Whether a participant may stay, as far as whoever let it in is concerned.

        Raises:
            LookupUnavailableError: the database does not answer.
        """
        if participant.role is Role.CUSTOMER or not participant.credential:
            return True
        identifier, generation, login = participant.credential.rsplit("#", 2)
        found = await self._directory.by_id(identifier)
        if found is None or (found.tenant, str(found.generation)) != (participant.tenant, generation):
            return False
        return not self._directory.login_ended(login)
