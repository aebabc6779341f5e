"""The ``hub`` command. Its sub-commands are in the modules that :mod:`channels.commands` names; each is imported when it is used."""

from hub.collector import skip_at_exit
from hub.interrupts import quiet_interrupts


def cli() -> None:
    """Run the command line of ``sys.argv``, and exit."""
    try:
        with quiet_interrupts():
            from channels.commands import command_line
        command_line()
    finally:
        skip_at_exit()


if __name__ == "__main__":
    cli()
