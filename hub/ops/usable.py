"""Settings that are right by themselves, and that ``hub serve`` refuses all the same."""

from hub.ops.plugins import load_extensions
from hub.ops.settings import Settings, SettingsError


def check_supported(settings: Settings) -> None:
    """Refuse settings whose meaning is fixed and which this version does not do yet, rather than do something else.

    Raises:
        SettingsError: several processes are asked for, or nodes without what they need.
    """
    problems = []
    if settings.workers != 1:
        problems.append(f"workers: expected 1, since this version serves from one process, got {settings.workers}")
    if settings.role != "all":
        problems.append(f"role: expected all, since this version has no separate stat server, got {settings.role}")
    if settings.redis_url is not None and settings.secret is None:
        problems.append("secret: expected the same one on each hub that shares the Redis of redis_url, got none")
    if problems:
        raise SettingsError(problems)


def check_usable(settings: Settings) -> None:
    """Everything that can be said of settings before a hub is started with them (`hub config --check`).

    Raises:
        SettingsError: see :func:`check_supported` and :func:`hub.ops.plugins.load_extensions`. All at once.
    """
    problems: list[str] = []
    for look in (check_supported, lambda checked: load_extensions(checked.extensions)):
        try:
            look(settings)
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)
