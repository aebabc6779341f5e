"""Options that several administrative commands have."""

import re
from typing import Annotated, Final

import typer

from hub.security.models import AdminError
from hub.security.roles import BUILT_IN

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


AnyTenant = Annotated[str | None, typer.Option("--tenant", "-t", metavar="TENANT", help="Only those of this tenant.")]
RolesOption = Annotated[
    list[str] | None,
    typer.Option("--role", "-r", metavar="ROLE", help=f"{', '.join(BUILT_IN)}, or one of the tenant's own; may be repeated."),
]


def lifetime_s(text: str, option: str = "--expires-in") -> int:
    """Seconds of ``90s``, ``15m``, ``8h``, ``30d`` or ``2w``; ``option`` is what the error calls it.

    Raises:
        AdminError: it is none of these.
    """
    found = re.fullmatch(r"([1-9][0-9]{0,8})([smhdw])", text)
    if found is None and re.fullmatch(r"0+[smhdw]", text):
        raise AdminError(f"{option}: expected more than 0, got {text!r}")
    if found is None:
        raise AdminError(f"{option}: expected a number and a unit such as 90s, 15m, 8h, 30d or 2w, got {text!r}")
    return int(found[1]) * _UNITS[found[2]]
