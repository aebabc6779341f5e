"""The family ``administration``: users, roles, clients, keys and tokens by REST."""

from hub.family import Context, Family, Parts, ProcessRole


def _build(context: Context) -> Parts:
    from hub.administration.build import build  # imported here: commands that only read settings do not need it

    return build(context)


family = Family(
    "administration",
    _build,
    runs_in=frozenset({ProcessRole.EDGE}),
    operations={
        "/users/read": "look at users and roles",
        "/users/admin": "add, change and remove users and roles",
        "/clients/read": "look at OAuth clients",
        "/clients/admin": "add, change and remove OAuth clients",
        "/keys/read": "look at API keys and tokens",
        "/keys/admin": "add and remove API keys and tokens",
    },
)
"""Of the built-in roles, ``admin`` alone may call any of it."""
