"""Reads ``HUB_*`` variables as values of settings. Text that cannot be parsed is passed on, so that the validation names its key."""

import json
from typing import Any, Final, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

_LISTS: Final = (list, tuple, set, frozenset)


class EnvironmentSource(EnvSettingsSource):
    """The environment variables, in which a list is ``a, b`` or JSON (``["a", "b"]``), and a table or a whole section is JSON.

    Other text is passed on unchanged: the validation of the settings refuses it, with the key, what was expected and what came
    (docs/settings.md).
    """

    def decode_complex_value(self, field_name: str, field: FieldInfo | None, value: Any) -> Any:
        """The value of a variable whose setting is a list, a table or a section."""
        if not isinstance(value, str):
            return value
        if field is not None and _is_list(field.annotation):
            return split_list(value)
        try:
            return json.loads(value)
        except ValueError:
            return value


def split_list(text: str) -> Any:
    """The list in a text: JSON if the text begins with ``[``, else the parts between commas, without blanks and empty parts.

    A text that begins with ``[`` and is not JSON is returned unchanged.
    """
    if text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _is_list(annotation: Any) -> bool:
    """Whether a type is a list, or a union with a list."""
    origin = get_origin(annotation) or annotation
    return origin in _LISTS or any(_is_list(part) for part in get_args(annotation) if get_origin(annotation) not in (dict, *_LISTS))
