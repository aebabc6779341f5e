"""``hub channel``: messaging channels, directly on the database. Running nodes follow within 2 s."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from channels.messaging.errors import ChannelExistsError, UnknownChannelError
from channels.messaging.service_channels import Change, ChannelService, Managed
from channels.messaging.settings import MessagingSettings
from hub.core.field_error import FieldError
from hub.ops.cli import AsJson, Config, DatabaseUrl, DataDir, TenantOption, errors, print_json
from hub.ops.settings import Settings
from hub.outbox.administration import EndpointTerms
from hub.security.cli_database import Admin
from hub.security.models import AdminError
from hub.storage.transactions import Transaction
from hub.terminal import print_fields, print_rows
from hub.transports.runtime import SystemClock

if TYPE_CHECKING:
    from hub.family import Family

T = TypeVar("T")

Webhook = Annotated[str | None, typer.Option(metavar="URL", help="Where outgoing messages are posted to; '' takes it away.")]
Sender = Annotated[str | None, typer.Option("--sender", help="Whom messages are from that do not say it; '' takes it away.")]
SenderName = Annotated[str | None, typer.Option("--sender-name", help="What to show of the sender; '' takes it away.")]
Throttle = Annotated[
    str | None,
    typer.Option(metavar="order|endpoint", help="What a 429 of the webhook holds back: one consumer, or all. [default: endpoint]"),
]
Secret = Annotated[str | None, typer.Option(help="Keys the signatures of both directions; drawn when left out.")]

_SAVE_IT = "Keep the secret now: it is not shown again."

_OPTIONS = {"sender.id": "--sender", "sender.name": "--sender-name", "id": "CHANNEL", "enabled": "enable"}
"""Fields that are called otherwise on the command line."""


class _Runner:
    """Runs the work of a command over the database."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin

    def run(
        self,
        tenant: str | None,
        work: Callable[[Transaction, ChannelService, str], T],
        config: Any,
        data_dir: Any,
        database_url: Any,
    ) -> T:
        """Run ``work`` in a transaction, for the tenant that is meant."""

        def checked(tx: Transaction, settings: Settings, name: str) -> T:
            own: MessagingSettings = settings.messaging  # type: ignore[attr-defined]  # a section of this family
            service = ChannelService(EndpointTerms.of(settings.outbox, SystemClock()), own.max_channels)
            try:
                return work(tx, service, name)
            except FieldError as error:
                option = _OPTIONS.get(error.field, f"--{error.field}")
                raise AdminError(f"{option}: expected {error.expected}, got {error.got}") from None
            except ChannelExistsError as error:
                raise AdminError(f"CHANNEL: expected an id that tenant {name} has no channel of yet, got {error}") from None
            except UnknownChannelError as error:
                raise AdminError(f"CHANNEL: expected one of tenant {name}, got {error}; see: hub channel list --tenant {name}") from None

        return self._admin.in_transaction(tenant, checked, config, data_dir, database_url)


def register(app: typer.Typer, families: Callable[[], Sequence[Family]] = tuple) -> None:
    """Add ``hub channel``. ``families`` yields those whose settings may stand in the settings file."""
    runner = _Runner(Admin(families))
    commands = typer.Typer(
        no_args_is_help=True, epilog="Example:  hub channel add 0123456789 --type sms --webhook https://sms.example.com/hook"
    )
    app.add_typer(commands, name="channel", help="Messaging channels: third parties that bring and take messages.")
    _add(commands, runner)
    _change(commands, runner)
    _look(commands, runner)
    _remove(commands, runner)


def _add(app: typer.Typer, runner: _Runner) -> None:
    @app.command(
        epilog="Examples:\n\n`hub channel add 0123456789 --type sms --webhook https://sms.example.com/hook`\n\n"
        "`hub channel add company.com --type email --sender no-reply@company.com --webhook https://mail.example.com/hook`"
    )
    def add(
        channel: str,
        type: Annotated[str, typer.Option(help="email, or sms and others for texts and media.")],
        webhook: Webhook = None,
        sender: Sender = None,
        sender_name: SenderName = None,
        throttle: Throttle = None,
        secret: Secret = None,
        tenant: TenantOption = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Add a messaging channel, and print its secret once."""
        change = Change(type, webhook, sender, sender_name, throttle=throttle)
        made, text = runner.run(
            tenant, lambda tx, service, name: service.add(tx, name, channel, change, secret), config, data_dir, database_url
        )
        _show(made, json, done=f"added channel {channel}", secret=text)


def _change(app: typer.Typer, runner: _Runner) -> None:
    @app.command(epilog="Example:  hub channel change 0123456789 --webhook https://sms.example.com/new-hook")
    def change(
        channel: str,
        type: Annotated[str | None, typer.Option(help="email, or sms and others for texts and media.")] = None,
        webhook: Webhook = None,
        sender: Sender = None,
        sender_name: SenderName = None,
        throttle: Throttle = None,
        tenant: TenantOption = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Change what is given."""
        wanted = Change(type, webhook, sender, sender_name, throttle=throttle)
        made = runner.run(tenant, lambda tx, service, name: service.change(tx, name, channel, wanted), config, data_dir, database_url)
        _show(made, json, done=f"changed channel {channel}")

    @app.command(epilog="Example:  hub channel enable 0123456789")
    def enable(
        channel: str, tenant: TenantOption = None, config: Config = None, data_dir: DataDir = None, database_url: DatabaseUrl = None
    ) -> None:
        """Call its webhook again: messages that wait are sent."""
        wanted = Change(enabled=True)
        made = runner.run(tenant, lambda tx, service, name: service.change(tx, name, channel, wanted), config, data_dir, database_url)
        _show(made, False, done=f"enabled the webhook of channel {channel}")

    @app.command(epilog="Example:  hub channel disable 0123456789")
    def disable(
        channel: str, tenant: TenantOption = None, config: Config = None, data_dir: DataDir = None, database_url: DatabaseUrl = None
    ) -> None:
        """Do not call its webhook for now: outgoing messages wait."""
        wanted = Change(enabled=False)
        made = runner.run(tenant, lambda tx, service, name: service.change(tx, name, channel, wanted), config, data_dir, database_url)
        _show(made, False, done=f"disabled the webhook of channel {channel}")

    @app.command(epilog="Example:  hub channel rotate 0123456789")
    def rotate(
        channel: str,
        secret: Secret = None,
        tenant: TenantOption = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Give it another secret; the one before is good beside it for a day."""
        made, text = runner.run(tenant, lambda tx, service, name: service.rotate(tx, name, channel, secret), config, data_dir, database_url)
        _show(made, json, done=f"rotated the secret of channel {channel}", secret=text)


def _look(app: typer.Typer, runner: _Runner) -> None:
    @app.command("list", epilog="Example:  hub channel list --json")
    def list_(
        tenant: TenantOption = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """List the messaging channels of a tenant."""
        found = runner.run(tenant, lambda tx, service, name: service.all(tx, name), config, data_dir, database_url)
        if json:
            print_json([_plain(each) for each in found])
        elif not found:
            errors.print("no messaging channels yet; add one with: hub channel add CHANNEL --type sms", markup=False)
        else:
            print_rows(
                ("id", "type", "webhook", "state"),
                ((each.channel.id, each.channel.type, each.endpoint.url, _state(each)) for each in found),
            )

    @app.command(epilog="Example:  hub channel show 0123456789")
    def show(
        channel: str,
        tenant: TenantOption = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Show a messaging channel, without its secret."""
        _show(runner.run(tenant, lambda tx, service, name: service.find(tx, name, channel), config, data_dir, database_url), json)


def _remove(app: typer.Typer, runner: _Runner) -> None:
    @app.command(epilog="Example:  hub channel remove 0123456789")
    def remove(
        channel: str,
        tenant: TenantOption = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Remove a messaging channel, with its messages and media."""
        runner.run(tenant, lambda tx, service, name: service.remove(tx, name, channel), config, data_dir, database_url)
        if json:
            print_json({"removed": f"channel {channel}"})
        else:
            errors.print(f"removed channel {channel}; running nodes follow within 2 s", style="green", markup=False)


def _state(managed: Managed) -> str:
    endpoint = managed.endpoint
    if not endpoint.enabled:
        return f"not called: {endpoint.disabled_reason}"
    if endpoint.failing_since_ms is not None:
        return f"failing since {datetime.fromtimestamp(endpoint.failing_since_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return "enabled"


def _plain(managed: Managed) -> dict[str, Any]:
    channel, endpoint = managed
    return {
        "id": channel.id,
        "tenant": channel.tenant,
        "type": channel.type,
        "webhook": endpoint.url or None,
        "enabled": endpoint.enabled,
        "disabled_reason": endpoint.disabled_reason,
        "failing_since_ms": endpoint.failing_since_ms,
        "sender_id": channel.sender_id,
        "sender_name": channel.sender_name,
        "throttle": endpoint.policy.throttle.value,
        "endpoint": channel.endpoint,
        "created_ms": channel.created_ms,
    }


def _show(managed: Managed, as_json: bool, *, done: str = "", secret: str | None = None) -> None:
    if as_json:
        print_json({**_plain(managed), **({"secret": secret} if secret is not None else {})})
        return
    if done:
        errors.print(done, style="green", markup=False)
    shown = {**_plain(managed), "state": _state(managed)}
    names = ("id", "tenant", "type", "webhook", "sender_id", "sender_name", "throttle", "endpoint", "state")
    print_fields({name: str(shown[name] or "") for name in names})
    if secret is not None:
        typer.echo(f"secret: {secret}")
        errors.print(_SAVE_IT, style="yellow", markup=False)
