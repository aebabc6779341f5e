"""What the wallboard adds to a hub: the page at ``/`` and its files below ``/wallboard``."""

from starlette.routing import Route

from channels.wallboard.routes import open_routes
from hub.family import Context, Parts


def build(context: Context) -> Parts:
    """Build the routes. The wallboard has no service of its own: the page gets its data over ``/ws``, like any other client."""
    paths = open_routes(context)
    return Parts(routes=[Route(each.path, each.respond, methods=["GET"]) for each in paths], open_routes=paths)
