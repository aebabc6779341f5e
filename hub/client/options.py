"""Options of every command that calls a running hub: the hub's address and the credential."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, TypeVar

import typer

from hub.client.logins import LoginError, Logins

DEFAULT_URL: Final = "http://127.0.0.1:8080"

Url = Annotated[
    str, typer.Option(envvar="HUB_URL", help="Where the hub is; HTTP_PROXY, HTTPS_PROXY and NO_PROXY say through which proxy, if any")
]
Token = Annotated[str, typer.Option(envvar="HUB_TOKEN", help="A bearer token")]
ApiKey = Annotated[str, typer.Option(envvar="HUB_API_KEY", help="An API key")]

T = TypeVar("T")


def client_of(make: Callable[..., T], url: str, **options: Any) -> T:
    """Return ``make(url, **options)``, a client of the hub at an address. An error of the URL is reported for ``--url``. Without a token
    and an API key, the login of ``hub login`` at that hub is used, if there is one.

    Raises:
        typer.BadParameter: the URL, or the value of a proxy's variable, is no address.
    """
    try:
        if not options.get("token") and not options.get("api_key"):
            options["token"] = kept_token(url)
        return make(url, **options)
    except LoginError as error:
        raise typer.BadParameter(str(error), param_hint="--token") from None
    except ValueError as error:
        text = str(error)
        if text.startswith("url: "):
            raise typer.BadParameter(text.removeprefix("url: "), param_hint="--url") from None
        raise typer.BadParameter(text) from None


def kept_token(url: str) -> str | Callable[[], Awaitable[str]]:
    """A function that returns the token of the login at a hub, refreshed when needed; an empty text: nobody is logged in there.

    Raises:
        LoginError: the file of logins cannot be read.
        ValueError: ``url`` is not the address of a hub.
    """
    logins = Logins()
    return "" if logins.find(url) is None else lambda: logins.token(url)


def way_in(url: str) -> str:
    """What somebody whom the hub at ``url`` does not let in can do. It names other hubs where there is a login."""
    text = f"log in (hub login --url {url}), or give a valid token (--token, HUB_TOKEN) or API key (--api-key, HUB_API_KEY)"
    try:
        elsewhere = Logins().elsewhere(url)
    except LoginError:  # the file of logins has no part in this refusal
        elsewhere = []
    return f"{text}; you are logged in at {', '.join(elsewhere)}: --url" if elsewhere else text
