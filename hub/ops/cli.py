"""``hub config`` prints the current settings and their reference. Also the options that all administrative commands share."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson
import typer

from hub.ops.reference import reference, render
from hub.ops.settings import DEFAULT_FILE, Settings, SettingsError, load, model_of
from hub.ops.usable import check_usable
from hub.terminal import Console
from hub.terminal_text import shown

if TYPE_CHECKING:
    from hub.family import Family

BAD_SETTINGS: Final = 2
"""Exit code when the settings cannot be used, as for wrong flags."""

Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="TOML file of settings; else hub.toml of this folder, if there is one.")
]
DataDir = Annotated[Path | None, typer.Option("--data-dir", metavar="DIR", help="Folder of the hub's own files (default: hub-data).")]
DatabaseUrl = Annotated[
    str | None, typer.Option("--database-url", metavar="URL", help="postgresql://... or sqlite:///...; else hub.db in the data folder.")
]
TenantOption = Annotated[
    str | None, typer.Option("--tenant", "-t", metavar="TENANT", help="May be left out where there is one tenant only.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

errors = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output, for scripts."""
    typer.echo(shown(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()))


def load_or_exit(families: Sequence["Family"], *, config: Path | None, flags: dict[str, Any]) -> Settings:
    """Load the settings. If they are wrong, print each problem as a line on standard error, and end the command with exit code 2."""
    try:
        return load(families, config=config, flags=flags)
    except SettingsError as error:
        raise _refused(error) from None


def _refused(error: SettingsError) -> typer.Exit:
    for problem in error.problems:
        errors.print(problem, style="red", markup=False)
    return typer.Exit(BAD_SETTINGS)


def register(app: typer.Typer, families: Callable[[], Sequence["Family"]] = tuple) -> None:
    """Add the command ``hub config``. ``families`` returns the families whose settings are known."""

    @app.command(
        "config", epilog="Examples:  hub config   |   hub config --check --config new.toml   |   hub config --reference > settings.md"
    )
    def config_command(
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        show_reference: Annotated[bool, typer.Option("--reference", help="Print the reference of all settings as Markdown.")] = False,
        check: Annotated[bool, typer.Option("--check", help="Only say whether hub serve would take the settings: 0 yes, 2 no.")] = False,
    ) -> None:
        """Print the settings in force as TOML, secrets hidden; --reference: what each means; --check: whether they can be used."""
        if show_reference:
            typer.echo(reference(model_of(families())), nl=False)
            return
        settings = load_or_exit(families(), config=config, flags={"data_dir": data_dir, "database_url": database_url})
        if check:
            try:
                check_usable(settings)
            except SettingsError as error:
                raise _refused(error) from None
            source = config or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
            typer.echo(f"the settings can be used ({source or 'no settings file'}, flags and the environment)")
            return
        typer.echo(render(settings), nl=False)
