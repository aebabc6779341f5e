"""Secrets are compared in a time that does not tell how much of them is right: by ``hmac.compare_digest``, or by looking a hash up."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_SECRET = re.compile(
    r"(?:^|_)(?:secret|token|password|signature|signed|digest|hexdigest|hash|hmac|mac|verifier|challenge|cookie|ticket|nonce|seal|api_key"
    r"|fingerprint|(?:user|device)_code)s?$"
)

HARMLESS = {
    "channels/auth/routes_users.py": {"new == body.data.old_password": "both are what the caller typed"},
    "hub/audit/verify.py": {
        "expected != row.hash": "whoever runs the check reads both",
        "hash_of(self.previous, row) != row.hash": "the same",
        "walk.previous != until.hash": "the same",
    },
    "hub/client/credentials.py": {"(token, api_key) == before": "of a client, its own"},
    "hub/cluster/checks.py": {"other.secret != me.secret": "digests that the nodes of a hub have told each other"},
    "hub/security/issuers/tokens.py": {
        "base64.urlsafe_b64encode(raw).rstrip(b'=') == signature": "the caller's own text, in its usual form"
    },
}
"""Comparisons from whose time nobody learns anything, and why."""


def _names(node: ast.expr) -> Iterator[str]:
    """What an operand of a comparison is called."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Subscript(slice=ast.Constant(value=str(name))):
            yield name
        case ast.Call(func=inner) | ast.Await(value=inner) | ast.Subscript(value=inner):
            yield from _names(inner)
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            for part in parts:
                yield from _names(part)


def comparisons(text: str) -> Iterator[str]:
    """The comparisons of secrets in a module by ``==`` or ``!=``. One with a constant tells nothing: the constant is in the source."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Compare) or not any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops):
            continue
        operands = [node.left, *node.comparators]
        if any(isinstance(operand, ast.Constant) for operand in operands):
            continue
        if any(_SECRET.search(name) for operand in operands for name in _names(operand)):
            yield ast.unparse(node)


def test_every_comparison_of_secrets_takes_the_same_time() -> None:
    found: dict[str, set[str]] = {}
    for path in sorted([*(ROOT / "hub").rglob("*.py"), *(ROOT / "channels").rglob("*.py")]):
        each = set(comparisons(path.read_text(encoding="utf-8")))
        if each:
            found[str(path.relative_to(ROOT))] = each
    assert found == {path: set(each) for path, each in HARMLESS.items()}


@pytest.mark.parametrize(
    "line",
    [
        "digest == stored",
        "self._signature(signed) != given",
        "row['token'] == shown",
        "(user, password) == known",
        "code.challenge == made",
        "typed == device.user_code",
        "await read_secret() == shown",
    ],
)
def test_a_comparison_of_secrets_is_found(line: str) -> None:
    assert list(comparisons(f"if {line}:\n    pass\n")) == [line]


@pytest.mark.parametrize(
    "line", ["tenant == other", "token == ''", "hmac.compare_digest(digest, other)", "digest in known", "len(code) == n"]
)
def test_others_are_not(line: str) -> None:
    assert list(comparisons(f"if {line}:\n    pass\n")) == []
