"""Checks of settings that are valid in themselves, but that ``hub serve`` refuses."""

from hub.ops.plugins import load_extensions
from hub.ops.settings import Settings, SettingsError


def check_supported(settings: Settings) -> None:
    """Refuse settings that are defined, but that this version does not support yet, and hubs on one Redis without a common secret.

    Raises:
        SettingsError: the settings require several processes or a role other than ``all``, or there is ``redis_url`` without ``secret``.
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
    """Check everything that can be checked of the settings before a hub starts (`hub config --check`).

    Raises:
        SettingsError: see :func:`check_supported` and :func:`hub.ops.plugins.load_extensions`. It lists all problems at once.
    """
    problems: list[str] = []
    for look in (check_supported, lambda checked: load_extensions(checked.extensions)):
        try:
            look(settings)
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)
