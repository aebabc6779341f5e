"""What may be said of a user beside name, password and roles."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from hub.security.models import AdminError, User, is_name

MAX_EMAIL: Final = 254
"""Characters of an address (RFC 5321 section 4.5.3.1.3, erratum 1690)."""

_EMAIL: Final = re.compile(r"[^\s@\x00-\x1f\x7f\ud800-\udfff]+@[^\s@\x00-\x1f\x7f\ud800-\udfff]+")


@dataclass(frozen=True, slots=True)
class Details:
    """The details to set. None leaves one as it is, an empty text removes it."""

    given_name: str | None = None
    family_name: str | None = None
    email: str | None = None
    disabled: bool | None = None

    def check(self) -> None:
        """Check the details.

        Raises:
            AdminError: one is not valid.
        """
        for field, name in (("given name", self.given_name), ("family name", self.family_name)):
            if name and not is_name(name):
                raise AdminError(f"{field}: expected 1-128 characters without control characters or outer blanks, got {name[:200]!r}")
        if self.email and (len(self.email) > MAX_EMAIL or not _EMAIL.fullmatch(self.email)):
            raise AdminError(f"e-mail: expected an address such as ana@example.com, got {self.email[:200]!r}")

    def of(self, user: User) -> User:
        """A user with these details."""
        return replace(
            user,
            given_name=user.given_name if self.given_name is None else self.given_name or None,
            family_name=user.family_name if self.family_name is None else self.family_name or None,
            email=user.email if self.email is None else self.email or None,
            disabled=user.disabled if self.disabled is None else self.disabled,
        )

    def told(self, user: User) -> dict[str, list[str]]:
        """What the audit log tells of the details of a user that these change: which they are, and not what they say."""
        made = self.of(user)
        changed = [name for name in ("given_name", "family_name", "email") if getattr(made, name) != getattr(user, name)]
        return {"changed": changed} if changed else {}


NO_DETAILS: Final = Details()
