"""Variables in the patterns of grants: ``/agents/{subject}/**`` stands for the channels of whoever asks (docs/security.md#variables)."""

from functools import lru_cache
from typing import Final

from hub.core.channels import check_pattern, to_segment

SUBJECT: Final = "{subject}"
"""Stands for the caller's subject."""

VARIABLES: Final = (SUBJECT,)
"""All that there are. There is none for the tenant: whatever a role is about lies within one tenant."""

_STAND_IN: Final = "x"


class VariableError(ValueError):
    """A pattern has a variable that is not known, or has it where none may be; the text says what was expected and what came."""


def check_template(text: str) -> str:
    """Return ``text`` if it is a pattern, or one with variables.

    A variable is a whole segment: if it could be a part of one, a subject could be chosen so that its channel is another subject's. It is
    never the first segment: that decides whose a channel is, and a subject may be called ``hub``.

    Raises:
        VariableError: a variable is not known, is a part of a segment, or is the first segment.
        hub.core.channels.InvalidChannelError: without variables it would not be a pattern.
    """
    if not has_variable(text):
        return check_pattern(text)
    segments = text.split("/")
    for at, segment in enumerate(segments):
        if not has_variable(segment):
            continue
        if segment not in VARIABLES:
            raise VariableError(f"expected the variable {SUBJECT} as a whole segment of {text}, got {segment}")
        if at <= 1:
            raise VariableError(f"expected a first segment without a variable, as in /agents/{SUBJECT}, got {text}")
    check_pattern("/".join(_STAND_IN if segment in VARIABLES else segment for segment in segments))
    return text


def has_variable(text: str) -> bool:
    """Whether a pattern has a variable. No channel contains a brace."""
    return "{" in text or "}" in text


def bound(template: str, subject: str) -> str:
    """The pattern that a checked template stands for when ``subject`` asks. The subject is percent-encoded as one segment
    (:func:`hub.core.channels.to_segment`), so that it can neither be a wildcard nor have a segment of its own.
    """
    return template.replace(SUBJECT, to_segment(subject)) if SUBJECT in template else template


@lru_cache(maxsize=4096)
def reach(template: str) -> str:
    """A pattern without variables that covers all that a template can stand for, whoever asks."""
    fixed, found, _ = template.partition(f"/{SUBJECT}")
    return f"{fixed}/**" if found else template
