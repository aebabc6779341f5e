"""Which subscriptions there are: by login, with the number of statistics that each subject and the tenant have open."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from channels.statistics.service.interface import LimitError
from channels.statistics.service.notification import OpenStatistic
from channels.statistics.settings import StatisticsSettings


class Subscription:
    """The open statistics of one subscription, by their ids."""

    __slots__ = ("id", "login", "statistics", "subject")

    def __init__(self, login: str, identifier: str, subject: str = "") -> None:
        self.login = login
        self.id = identifier
        self.subject = subject
        self.statistics: dict[str, OpenStatistic] = {}


class LoginRecord:
    """The subscriptions of one login and when it last called."""

    __slots__ = ("called_ms", "subscriptions")

    def __init__(self, called_ms: int) -> None:
        self.called_ms = called_ms
        self.subscriptions: dict[str, Subscription] = {}

    @property
    def statistics(self) -> int:
        return sum(len(s.statistics) for s in self.subscriptions.values())


class Subscriptions:
    """The subscriptions of one tenant. Times named ``now_ms`` are monotonic milliseconds."""

    __slots__ = ("_settings", "logins", "statistics", "subjects")

    def __init__(self, settings: StatisticsSettings) -> None:
        self._settings = settings
        self.logins: dict[str, LoginRecord] = {}
        """The logins that have a subscription."""
        self.subjects: dict[str, int] = {}
        """How many statistics each subject has open, over all its logins."""
        self.statistics = 0
        """How many statistics all logins have open."""

    def __len__(self) -> int:
        return sum(len(record.subscriptions) for record in self.logins.values())

    def check_limits(self, subscription: Subscription, adding: int) -> None:
        """See whether a subscription can be added, or replace one, that opens ``adding`` statistics.

        Raises:
            LimitError: the login would have too many subscriptions, or the login, the subject or the tenant too many statistics.
        """
        settings = self._settings
        record = self.logins.get(subscription.login) or LoginRecord(0)
        replaced = record.subscriptions.get(subscription.id)
        most = settings.max_login_subscriptions
        if replaced is None and len(record.subscriptions) >= most:
            raise LimitError("operationId", f"expected at most {most} subscriptions of one login, got one more")
        less = len(replaced.statistics) if replaced else 0
        for whose, most, present in (
            ("one login", settings.max_login_statistics, record.statistics - less),
            ("one subject", settings.max_subject_statistics, self.subjects.get(subscription.subject, 0) - less),
            ("a tenant", settings.max_tenant_statistics, self.statistics - less),
        ):
            if present + adding > most:
                raise LimitError(
                    "data.statistics", f"expected at most {most} statistics of {whose}, got {adding} more than the {present} open"
                )

    def add(self, subscription: Subscription, now_ms: int) -> None:
        """Add a subscription; its login has none of the same id."""
        record = self.logins.setdefault(subscription.login, LoginRecord(now_ms))
        record.subscriptions[subscription.id] = subscription
        self._count(subscription, len(subscription.statistics))

    def remove(self, login: str, identifier: str) -> Subscription | None:
        """Remove a subscription and return it; None if the login has none of this id."""
        record = self.logins.get(login)
        if record is None or (subscription := record.subscriptions.pop(identifier, None)) is None:
            return None
        if not record.subscriptions:
            del self.logins[login]
        self._count(subscription, -len(subscription.statistics))
        return subscription

    def find(self, logins: Sequence[str], identifier: str) -> Subscription | None:
        """The subscription of this id of the first of these logins that has one."""
        for login in logins:
            if (record := self.logins.get(login)) is not None and (found := record.subscriptions.get(identifier)) is not None:
                return found
        return None

    def of_login(self, login: str) -> list[Subscription]:
        """The subscriptions of one login."""
        record = self.logins.get(login)
        return [] if record is None else list(record.subscriptions.values())

    def touch(self, logins: Iterable[str], now_ms: int) -> None:
        """Note that these logins made a REST call."""
        for login in logins:
            if (record := self.logins.get(login)) is not None:
                record.called_ms = now_ms

    def is_idle(self, login: str, now_ms: int) -> bool:
        """Whether the last REST call of a login is longer ago than ``login_idle_s``."""
        record = self.logins.get(login)
        return record is not None and record.called_ms <= now_ms - self._settings.login_idle_s * 1000

    def _count(self, subscription: Subscription, more: int) -> None:
        """Count so many more open statistics."""
        self.statistics += more
        of_subject = self.subjects.get(subscription.subject, 0) + more
        if of_subject:
            self.subjects[subscription.subject] = of_subject
        else:
            self.subjects.pop(subscription.subject, None)
