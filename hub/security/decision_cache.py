"""Remembers decisions, as many as a limit says."""

from collections import deque

from hub.core.decision import Decision
from hub.core.principal import Action

Asked = tuple[str, frozenset[str], frozenset[str] | None, Action, str]
Question = Asked | tuple[str, frozenset[str], frozenset[str] | None, Action, str, str]
"""Tenant, roles, scopes, action and resource; then the subject, but only where the answer depends on it."""


class DecisionCache:
    """Decisions by question. It has a limit because clients choose the resources. A tenant that has more than its even share of a full
    cache loses its own oldest decision for a new one; else the tenant with most decisions does.
    """

    __slots__ = ("_answers", "_max_answers", "_of_tenant", "get")

    def __init__(self, max_answers: int) -> None:
        self._max_answers = max(1, max_answers)
        self._answers: dict[Question, Decision] = {}
        # the questions of each tenant that has some, the oldest first
        self._of_tenant: dict[str, deque[Question]] = {}
        self.get = self._answers.get
        """The decision on a question; None if it is not known. It is the dictionary's own method, since it is asked for each message."""

    def add(self, question: Question, decision: Decision) -> None:
        """Remember a decision."""
        if question in self._answers:
            self._answers[question] = decision
            return
        tenant = question[0]
        if len(self._answers) >= self._max_answers:
            self._drop_one_for(tenant)
        self._answers[question] = decision
        own = self._of_tenant.get(tenant)
        if own is None:
            own = self._of_tenant[tenant] = deque()
        own.append(question)

    def _drop_one_for(self, tenant: str) -> None:
        own = self._of_tenant.get(tenant)
        if own is None or len(own) * len(self._of_tenant) < self._max_answers:
            tenant = max(self._of_tenant, key=lambda each: len(self._of_tenant[each]))
        oldest = self._of_tenant[tenant]
        del self._answers[oldest.popleft()]
        if not oldest:
            del self._of_tenant[tenant]

    def clear(self) -> None:
        """Forget all decisions."""
        self._answers.clear()
        self._of_tenant.clear()

    def __len__(self) -> int:
        return len(self._answers)
