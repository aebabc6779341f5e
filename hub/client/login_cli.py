"""``hub login`` and ``hub logout``: sign in at a hub in a browser, so that other commands need no token."""

from __future__ import annotations

import asyncio
import webbrowser
from typing import Annotated

import typer

from hub.client.console import FAILED
from hub.client.login import CLIENT_ID, log_in, log_out
from hub.client.logins import LoginError, Logins
from hub.client.options import DEFAULT_URL, Url
from hub.terminal import Console

ClientId = Annotated[str, typer.Option(metavar="ID", help="A public client that may redirect to http://127.0.0.1/cb.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``hub``."""
    errors = Console(stderr=True, highlight=False, soft_wrap=True)

    @app.command(
        "login", epilog="Example:  hub login --url https://hub.example.com    and then:  hub listen '/my/**' --url https://hub.example.com"
    )
    def login(
        url: Url = DEFAULT_URL,
        client_id: ClientId = CLIENT_ID,
        browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser, or print the address alone.")] = True,
        wait: Annotated[float, typer.Option(metavar="SECONDS", help="How long to wait for the browser.", min=1)] = 300,
    ) -> None:
        """Sign in at a hub in a browser; other commands then need no --token.

        Those are listen, publish, feed and simulate. What the hub gave is kept in the configuration folder of the user, for its owner
        alone, and refreshed as long as it is used.
        """

        def show(address: str) -> None:
            errors.print(f"open in a browser:\n{address}", markup=False)
            if browser:
                webbrowser.open(address)

        try:
            made = asyncio.run(log_in(url, client_id, show=show, within_s=wait))
            Logins().keep(url, made)
        except (LoginError, ValueError, OSError) as error:
            errors.print(str(error), style="red", markup=False)
            raise typer.Exit(FAILED) from None
        errors.print(f"logged in at {url}", style="green", markup=False)

    @app.command("logout", epilog="Example:  hub logout --url https://hub.example.com")
    def logout(url: Url = DEFAULT_URL) -> None:
        """End the login at a hub, there and here."""
        logins = Logins()
        try:
            found = logins.find(url)
            if found is None:
                errors.print(f"nobody is logged in at {url}", markup=False)
                return
            logins.keep(url, None)
            asyncio.run(log_out(found))
        except (LoginError, ValueError, OSError) as error:
            errors.print(str(error), style="red", markup=False)
            raise typer.Exit(FAILED) from None
        errors.print(f"logged out of {url}", style="green", markup=False)
