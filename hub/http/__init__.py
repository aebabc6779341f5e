"""HTTP: what every REST route of the hub and of the families stands on.

A family that has REST calls has these modules:

- ``routes.py``: ``create_router(...)`` makes the router. A route reads the request, calls the service and returns :func:`respond(data)
  <hub.http.responses.respond>`. It catches nothing. ``register_errors(errors)`` says how the errors of the family are answered.
- ``schemas.py``: the models of bodies and answers.
- ``service.py`` and what lies below it raise errors of the family's own, which know nothing of HTTP. A field that is wrong is a
  :class:`FieldError(field, expected, got) <hub.core.field_error.FieldError>`, or a class that derives from it; its answer is 400.

When the family is built, it adds its errors to the one table of the hub, :class:`ErrorTable <hub.http.error_table.ErrorTable>`::

    def register_errors(errors: ErrorTable) -> None:
        errors.add(UnknownChannelError, lambda error: ApiError.of_field("id", "a channel of this tenant", error.id, http_status=404))
        errors.add(UnavailableError, 503)  # the answer says the error's own text

    def build(context: Context) -> Parts:
        register_errors(context.errors)
        return Parts(routers=[create_router(...)])

The table has answers for :class:`FieldError`, for requests that do not fit their model, and for a database or a log that cannot be used
(503). It is found in ``app.state.errors``. A route class of a family's own derives from :class:`HubRoute <hub.http.routing.HubRoute>` and
asks the table.

Other modules: ``permits`` (``requires("/operation")`` is the dependency that yields the caller), ``body`` (``read_body`` for a whole body,
``stream_body`` for its pieces, ``takes(bytes)`` for an operation with a bound of its own), ``inflate`` (gzip), ``fast_routes``
(declarations of operations that are served without the framework), ``cors``, ``assets``, ``filetypes``, ``application``.
"""
