"""Options of every command that calls a running hub: the hub's address and the credential."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

import typer

DEFAULT_URL: Final = "http://127.0.0.1:8080"

Url = Annotated[
    str, typer.Option(envvar="HUB_URL", help="Where the hub is; HTTP_PROXY, HTTPS_PROXY and NO_PROXY say through which proxy, if any")
]
Token = Annotated[str, typer.Option(envvar="HUB_TOKEN", help="A bearer token")]
ApiKey = Annotated[str, typer.Option(envvar="HUB_API_KEY", help="An API key")]

T = TypeVar("T")


def client_of(make: Callable[..., T], url: str, **options: Any) -> T:
    """Return ``make(url, **options)``, a client of the hub at an address. An error of the URL is reported for ``--url``.

    Raises:
        typer.BadParameter: the URL, or the value of a proxy's variable, is no address.
    """
    try:
        return make(url, **options)
    except ValueError as error:
        text = str(error)
        if text.startswith("url: "):
            raise typer.BadParameter(text.removeprefix("url: "), param_hint="--url") from None
        raise typer.BadParameter(text) from None
