"""HTTP: the common base of all REST routes of the hub and of the families.

A family with REST calls has these modules:

- ``routes.py``: ``create_router(...)`` makes the router. A route reads the request, calls the service and returns :func:`respond(data)
  <hub.http.responses.respond>`. It catches no exception. ``register_errors(errors)`` adds the answers to the family's errors.
- ``schemas.py``: the models of request bodies and answers.
- ``service.py`` and the modules below it raise the family's own errors, which do not depend on HTTP. For a wrong field they raise
  :class:`FieldError(field, expected, got) <hub.core.field_error.FieldError>`, or a class that derives from it; the answer is 400.

When the family is built, it adds its errors to the one table of the hub, :class:`ErrorTable <hub.http.error_table.ErrorTable>`::

    def register_errors(errors: ErrorTable) -> None:
        errors.add(UnknownChannelError, lambda error: ApiError.of_field("id", "a channel of this tenant", error.id, http_status=404))
        errors.add(UnavailableError, 503)  # the answer has the error's own text

    def build(context: Context) -> Parts:
        register_errors(context.errors)
        return Parts(routers=[create_router(...)])

The table has answers for :class:`FieldError`, for requests that do not fit their model, and for a database or a log that cannot be used
(503). It is in ``app.state.errors``. If a family has its own route class, that class derives from
:class:`HubRoute <hub.http.routing.HubRoute>` and uses the table.

Other modules: ``permits`` (``requires("/operation")`` is the dependency that yields the caller), ``body`` (``read_body`` for a whole body,
``stream_body`` for its pieces, ``takes(bytes)`` for an operation with its own limit), ``inflate`` (gzip), ``fast_routes``
(declarations of operations that are served without the framework), ``cors``, ``assets``, ``filetypes``, ``application``.
"""
