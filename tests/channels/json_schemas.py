"""Another library's judgement of what the published schemas take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator


def validator(schema: Any) -> Draft202012Validator:
    """What sees whether values are of a schema.

    Raises:
        jsonschema.SchemaError: it is none of JSON Schema 2020-12.
    """
    # where it is used: its check of IRIs, for which no schema here asks, makes a grammar at import, for 0.7 s and 24 MiB
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)
