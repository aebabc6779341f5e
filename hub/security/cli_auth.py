"""``hub auth``: the keys that sign ID tokens, directly on the database (docs/authentication.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from hub.ops.cli import AsJson, Config, DatabaseUrl, DataDir, errors, print_json
from hub.ops.settings import Settings
from hub.security.cli_database import Admin, now_ms, recorder_of
from hub.security.oauth.keys import KeyTimes
from hub.security.secret import signing_secret
from hub.storage.transactions import Transactions

if TYPE_CHECKING:
    from hub.family import Family


def register(app: typer.Typer, families: Callable[[], Sequence[Family]] = tuple) -> None:
    """Add the commands. ``families`` returns the families whose settings may be in the settings file."""
    app.add_typer(_auth(Admin(families)), name="auth", help="Signing keys of the authorization server.")


def _auth(admin: Admin) -> typer.Typer:
    app = typer.Typer(no_args_is_help=True, epilog="Example:  hub auth rotate-keys")
    app.callback()(lambda: None)  # with one command and no callback typer makes no group

    @app.command("rotate-keys", epilog="Example:  hub auth rotate-keys")
    def rotate_keys(config: Config = None, data_dir: DataDir = None, database_url: DatabaseUrl = None, json: AsJson = False) -> None:
        """Make the next signing keys now. They sign as soon as every client can know them; what the old ones signed stays good."""

        async def work(transactions: Transactions, settings: Settings) -> Sequence[KeyTimes]:
            from hub.security.signing import SigningKeys  # its libraries take time to load

            bits = settings.auth.rsa_bits  # type: ignore[attr-defined]  # of the family auth
            return await SigningKeys(transactions, signing_secret(settings), now_ms, recorder_of(settings), bits).rotate()

        made = admin.on_database(work, config, data_dir, database_url)
        if json:
            print_json([{"kid": key.kid, "algorithm": key.algorithm, "signs_from_ms": key.signs_from_ms} for key in made])
            return
        for key in made:
            begins = datetime.fromtimestamp(key.signs_from_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            typer.echo(f"{key.algorithm} {key.kid}: signs from {begins}")
        errors.print("made; the old keys sign until then, and what they signed stays good", style="green", markup=False)

    return app
