"""``hub endpoint``: manages the endpoints of webhooks directly in the database. Running nodes follow within 2 s."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from hub.core.field_error import FieldError
from hub.core.json_text import show
from hub.families import webhook_types
from hub.ops.cli import AsJson, Config, DatabaseUrl, DataDir, TenantOption, errors, print_json
from hub.ops.settings import Settings
from hub.outbox import archive_store
from hub.outbox.administration import Administration, Change, EndpointTerms, UnknownEndpointError
from hub.outbox.archive_store import Attempt
from hub.outbox.models import Endpoint, unknown_types
from hub.security.cli_database import Admin, recorder_of
from hub.security.models import AdminError
from hub.storage.transactions import Transaction
from hub.terminal import print_fields, print_rows
from hub.transports.runtime import SystemClock

if TYPE_CHECKING:
    from hub.family import Family

T = TypeVar("T")

Types = Annotated[
    list[str] | None, typer.Option("--type", metavar="TYPE", help="Event type that it wants, such as interaction.*; may be repeated.")
]
Media = Annotated[
    list[str] | None,
    typer.Option("--media", metavar="MEDIUM", help="Medium that it wants, such as chat; may be repeated: all of them unless said."),
]
Headers = Annotated[list[str] | None, typer.Option("--header", metavar="'NAME: VALUE'", help="Header of its own; may be repeated.")]
Success = Annotated[str | None, typer.Option(metavar="200|2xx", help="What it must answer. [default: 200]")]
Throttle = Annotated[
    str | None, typer.Option(metavar="order|endpoint", help="What its status 429 holds back: its order, or all. [default: endpoint]")
]
Concurrency = Annotated[int | None, typer.Option(help="Requests that may be under way at once; 0: the setting outbox.concurrency.")]
Secret = Annotated[str | None, typer.Option(help="Keys the signatures; drawn when left out.")]
Description = Annotated[str | None, typer.Option(help="For people.")]

_SAVE_IT = "Keep the secret now: it is not shown again."


_SHOWN_BODY = 200
"""Characters of what a receiver answered that are shown."""

_OPTIONS = {"types": "type", "headers": "header"}
"""Fields whose option has another name, since it may be given several times."""


def _place(field: str, argument: str) -> str:
    """How a command names a field of an endpoint: its argument, or an option."""
    if field == argument:
        return argument.upper()
    return field if field == "endpoints" else f"--{_OPTIONS.get(field, field)}"


class _Runner:
    """Runs what a command does with endpoints."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin

    def warn_of_types(self, endpoint: Endpoint) -> None:
        """Say which types it wants that no event of this hub has: they are misspelt, or those of an extension."""
        known = webhook_types(self._admin.families())
        for unknown in unknown_types(endpoint.types, known):
            told = f"--type: no event of this hub has the type {unknown}; there are: {', '.join(sorted(known))}"
            errors.print(told, style="yellow", markup=False)

    def run(
        self,
        tenant: str | None,
        work: Callable[[Transaction, Administration, str], T],
        config: Any,
        data_dir: Any,
        database_url: Any,
        argument: str = "",
    ) -> T:
        """Run ``work`` in a transaction, for the tenant that is meant. ``argument`` is the field that the command has as an argument."""

        def checked(tx: Transaction, settings: Settings, name: str) -> T:
            administration = Administration(EndpointTerms.of(settings.outbox, SystemClock()), recorder_of(settings))
            try:
                return work(tx, administration, name)
            except FieldError as error:
                raise AdminError(f"{_place(error.field, argument)}: expected {error.expected}, got {error.got}") from None
            except UnknownEndpointError as error:
                raise AdminError(f"endpoint: expected one of tenant {name}, got {error}; see: hub endpoint list --tenant {name}") from None

        return self._admin.in_transaction(tenant, checked, config, data_dir, database_url)


def register(app: typer.Typer, families: Callable[[], Sequence[Family]] = tuple) -> None:
    """Add ``hub endpoint``. ``families`` yields those whose settings may stand in the settings file."""
    runner = _Runner(Admin(families))
    commands = typer.Typer(no_args_is_help=True, epilog="Example:  hub endpoint add https://crm.example.com/hook --type 'interaction.*'")
    app.add_typer(commands, name="endpoint", help="Endpoints: where webhooks go.")
    _add(commands, runner)
    _change(commands, runner)
    _look(commands, runner)
    _remove(commands, runner)
    _replay(commands, runner)


def _add(app: typer.Typer, runner: _Runner) -> None:
    @app.command(
        epilog="Examples:\n\n`hub endpoint add https://crm.example.com/hook --type 'interaction.*'`\n\n"
        "`hub endpoint add https://crm.example.com/hook --type 'interaction.*' --media chat --media email` — chat and email alone, "
        "which is all that a receiver written for the Genesys interactions webhook knows\n\n"
        "`hub endpoint add http://localhost:9000/ --secret s3cret-text` — beside `hub receive --port 9000 --secret s3cret-text`; needs "
        "`HUB_OUTBOX__ALLOWED_NETWORKS=127.0.0.0/8`"
    )
    def add(
        url: str,
        tenant: TenantOption = None,
        type: Types = None,
        media: Media = None,
        header: Headers = None,
        success: Success = None,
        throttle: Throttle = None,
        concurrency: Concurrency = None,
        secret: Secret = None,
        description: Description = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Add an endpoint, and print its secret once."""
        change = Change(url, type, media, _headers(header), description, concurrency, success, throttle=throttle)
        made, text = runner.run(
            tenant, lambda tx, administration, name: administration.add(tx, name, change, secret), config, data_dir, database_url, "url"
        )
        _show(made, json, done=f"added endpoint {made.id}", secret=text)
        runner.warn_of_types(made)


def _change(app: typer.Typer, runner: _Runner) -> None:
    @app.command(epilog="Example:  hub endpoint change ep_0123 --url https://crm.example.com/new-hook")
    def change(
        endpoint: str,
        url: Annotated[str | None, typer.Option(help="Where to POST to.")] = None,
        tenant: TenantOption = None,
        type: Types = None,
        media: Media = None,
        header: Headers = None,
        success: Success = None,
        throttle: Throttle = None,
        concurrency: Concurrency = None,
        description: Description = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Change what is given; lists and headers are given whole."""
        wanted = Change(url, type, media, _headers(header), description, concurrency, success, throttle=throttle)
        made = runner.run(
            tenant, lambda tx, administration, name: administration.change(tx, name, endpoint, wanted), config, data_dir, database_url
        )
        _show(made, json, done=f"changed endpoint {endpoint}")
        runner.warn_of_types(made)

    @app.command(epilog="Example:  hub endpoint enable ep_0123")
    def enable(
        endpoint: str, tenant: TenantOption = None, config: Config = None, data_dir: DataDir = None, database_url: DatabaseUrl = None
    ) -> None:
        """Deliver to it again: pending deliveries are made."""
        wanted = Change(enabled=True)
        made = runner.run(
            tenant, lambda tx, administration, name: administration.change(tx, name, endpoint, wanted), config, data_dir, database_url
        )
        _show(made, False, done=f"enabled endpoint {endpoint}")

    @app.command(epilog="Example:  hub endpoint disable ep_0123")
    def disable(
        endpoint: str, tenant: TenantOption = None, config: Config = None, data_dir: DataDir = None, database_url: DatabaseUrl = None
    ) -> None:
        """Deliver nothing to it for now: pending deliveries stay pending, and new events are not delivered to it."""
        wanted = Change(enabled=False)
        made = runner.run(
            tenant, lambda tx, administration, name: administration.change(tx, name, endpoint, wanted), config, data_dir, database_url
        )
        _show(made, False, done=f"disabled endpoint {endpoint}")

    @app.command(epilog="Example:  hub endpoint rotate ep_0123")
    def rotate(
        endpoint: str,
        tenant: TenantOption = None,
        secret: Secret = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Give it another secret; the one before signs beside it for a day."""
        made, text = runner.run(
            tenant, lambda tx, administration, name: administration.rotate(tx, name, endpoint, secret), config, data_dir, database_url
        )
        _show(made, json, done=f"rotated the secret of endpoint {endpoint}", secret=text)


def _look(app: typer.Typer, runner: _Runner) -> None:
    @app.command("list", epilog="Example:  hub endpoint list --json")
    def list_(
        tenant: TenantOption = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """List the endpoints of a tenant."""
        found = runner.run(tenant, lambda tx, administration, name: administration.all(tx, name), config, data_dir, database_url)
        if json:
            print_json([_plain(each) for each in found])
        elif not found:
            errors.print("no endpoints yet; add one with: hub endpoint add URL", markup=False)
        else:
            print_rows(
                ("id", "url", "types", "media", "state"),
                ((each.id, each.url, ", ".join(each.types) or "all", ", ".join(each.media) or "all", _state(each)) for each in found),
            )

    @app.command(epilog="Example:  hub endpoint show ep_0123")
    def show(
        endpoint: str,
        tenant: TenantOption = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Show an endpoint, and of one that fails, or was disabled for that, how the last attempt failed."""

        def work(tx: Transaction, administration: Administration, name: str) -> tuple[Endpoint, Attempt | None]:
            found = administration.find(tx, name, endpoint)
            fails = found.failing_since_ms is not None or not found.enabled
            return found, archive_store.last_failure(tx, name, endpoint) if fails else None

        found, failure = runner.run(tenant, work, config, data_dir, database_url)
        _show(found, json, failure=failure)
        runner.warn_of_types(found)


def _remove(app: typer.Typer, runner: _Runner) -> None:
    @app.command(epilog="Example:  hub endpoint remove ep_0123")
    def remove(
        endpoint: str, tenant: TenantOption = None, config: Config = None, data_dir: DataDir = None, database_url: DatabaseUrl = None
    ) -> None:
        """Remove an endpoint; its pending deliveries are dead."""
        runner.run(tenant, lambda tx, administration, name: administration.remove(tx, name, endpoint), config, data_dir, database_url)
        errors.print(f"removed endpoint {endpoint}; running nodes follow within 2 s", style="green", markup=False)


def _replay(app: typer.Typer, runner: _Runner) -> None:
    @app.command(epilog="Example:  hub endpoint replay ep_0123 --since 2026-11-25T08:00:00Z")
    def replay(
        endpoint: str,
        since: Annotated[datetime, typer.Option(help="Deliveries that were made from then on (UTC).", formats=_FORMATS)],
        until: Annotated[datetime | None, typer.Option(help="... and before then; else all.", formats=_FORMATS)] = None,
        tenant: TenantOption = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
    ) -> None:
        """Deliver once more every dead delivery of an endpoint that was made in a span of time."""
        since_ms, until_ms = _ms(since), _ms(until) if until is not None else 1 << 53

        def work(tx: Transaction, administration: Administration, name: str) -> int:
            administration.find(tx, name, endpoint)
            total = archive_store.replay_span(
                tx, name, endpoint, since_ms=since_ms, until_ms=until_ms, now_ms=time.time_ns() // 1_000_000, limit=1 << 31
            )
            archive_store.announce(tx)
            return total

        total = runner.run(tenant, work, config, data_dir, database_url)
        what = "1 delivery is" if total == 1 else f"{total} deliveries are"
        errors.print(f"{what} made once more; running nodes begin within 2 s", style="green", markup=False)


_FORMATS = ["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"]


def _ms(moment: datetime) -> int:
    return round(moment.replace(tzinfo=UTC).timestamp() * 1000)


def _headers(given: Sequence[str] | None) -> dict[str, str] | None:
    if given is None:
        return None
    made = {}
    for header in given:
        name, colon, value = header.partition(":")
        if not colon:
            raise typer.BadParameter(f"--header: expected 'NAME: VALUE', got {header!r}")
        made[name.strip()] = value.strip()
    return made


def _state(endpoint: Endpoint) -> str:
    if not endpoint.enabled:
        return f"disabled: {endpoint.disabled_reason}"
    if endpoint.failing_since_ms is not None:
        return f"failing since {datetime.fromtimestamp(endpoint.failing_since_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return "enabled"


def _plain(endpoint: Endpoint) -> dict[str, Any]:
    shown = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(endpoint).items()}
    shown["success"] = endpoint.policy.success.value
    shown["throttle"] = endpoint.policy.throttle.value
    for hidden in ("secrets", "policy", "owner"):
        del shown[hidden]
    return shown


def _failure(attempt: Attempt) -> str:
    """How an attempt failed, for people: the body is what the receiver said of it."""
    status = f"status {attempt.status}" if attempt.status else ""
    body = attempt.body.decode("utf-8", "replace")[:_SHOWN_BODY] if attempt.status else ""
    told = ": ".join(each for each in (status, attempt.error if attempt.error != status else "", show(body) if body else "") if each)
    return f"{datetime.fromtimestamp(attempt.at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC: {told}"


def _show(endpoint: Endpoint, as_json: bool, *, done: str = "", secret: str | None = None, failure: Attempt | None = None) -> None:
    if as_json:
        last = {} if failure is None else {"last_failure": {"at_ms": failure.at_ms, "status": failure.status, "error": failure.error}}
        print_json({**_plain(endpoint), **last, **({"secret": secret} if secret is not None else {})})
        return
    if done:
        errors.print(done, style="green", markup=False)
    shown = {**_plain(endpoint), "state": _state(endpoint)}
    names = ("id", "tenant", "url", "types", "media", "headers", "description", "concurrency", "success", "throttle", "state")
    fields = {name: ", ".join(value) if isinstance(value := shown[name], list) else str(value or "") for name in names}
    print_fields(fields if failure is None else {**fields, "last failure": _failure(failure)})
    if secret is not None:
        typer.echo(f"secret: {secret}")
        errors.print(_SAVE_IT, style="yellow", markup=False)
