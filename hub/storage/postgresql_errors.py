"""Decides by an error of PostgreSQL whether its connection can still be used (PostgreSQL's manual, appendix A: error codes)."""

from typing import Final

import psycopg

_OF_NO_USE: Final = frozenset(
    {
        "25006",  # read_only_sql_transaction: a primary that was demoted, a provider whose disk is full
        "25P03",  # idle_in_transaction_session_timeout
        "25P04",  # transaction_timeout
        "26000",  # invalid_sql_statement_name: a pooler has switched to another server connection than the one that prepared it
        "42P05",  # duplicate_prepared_statement: likewise
        "57P01",  # admin_shutdown
        "57P02",  # crash_shutdown
        "57P03",  # cannot_connect_now
        "57P04",  # database_dropped
        "57P05",  # idle_session_timeout
    }
)

_CLASSES: Final = ("08", "53", "58", "F0", "XX")
"""The classes of connection exceptions, insufficient resources (53100: its disk is full), system errors, a broken configuration, and
internal errors (damaged data). A new connection may reach another server, or the same one after it has recovered."""

_PREPARED: Final = frozenset({"26000", "42P05"})


def of_no_use(error: BaseException) -> bool:
    """Whether a connection should be closed after an error: it is broken, or its next statements will fail too."""
    if isinstance(error, psycopg.Error) and error.sqlstate is not None:
        return error.sqlstate in _OF_NO_USE or error.sqlstate[:2] in _CLASSES
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)


def of_prepared_statements(error: BaseException) -> bool:
    """Whether the server did not know a prepared statement, or knew it already: a pooler has switched to another server connection."""
    return isinstance(error, psycopg.Error) and error.sqlstate in _PREPARED
