"""The kinds of database errors: an outage, a conflict of transactions, a rejection.

Only the first two are temporary. A rejected value or a statement with a fault is an
answer of a healthy database, and another attempt would get the same answer.
"""

import sqlite3

from django.db import Error, InterfaceError, OperationalError

#: Classes of SQLSTATE in which PostgreSQL reports that it cannot work now: connection,
#: resources, operator intervention, system. Other classes name a fault of a statement.
_OUTAGE = frozenset({"08", "53", "57", "58"})
#: Codes of a statement that was given up because of another transaction or its own
#: duration: lock not available, query canceled, deadlock, serialization failure.
_CONFLICT = frozenset({"55P03", "57014", "40P01", "40001"})
#: A standby that has not been promoted yet: read-only transaction.
_READ_ONLY = "25006"


def is_unavailable(error: BaseException) -> bool:
    """Return True if the database did not respond, or cannot work now."""
    state = sqlstate(error)
    if state:
        return state == _READ_ONLY or (state[:2] in _OUTAGE and state not in _CONFLICT)
    code = getattr(error.__cause__, "sqlite_errorcode", None)
    # SQLITE_ERROR is a fault of the statement, such as a missing table.
    is_fault = code is not None and code & 0xFF == sqlite3.SQLITE_ERROR
    return isinstance(error, InterfaceError | OperationalError) and not is_fault


def is_conflict(error: BaseException) -> bool:
    """Return True if a statement was given up: for a lock, or since it took too long.

    Other transactions are not affected.
    """
    return sqlstate(error) in _CONFLICT


def is_temporary(error: BaseException) -> bool:
    """Return True if another attempt may succeed."""
    return is_unavailable(error) or is_conflict(error)


def is_rejection(error: BaseException) -> bool:
    """Return True if the database or its driver refused a value or a statement."""
    if isinstance(error, Error):
        return not is_temporary(error)
    return isinstance(error, ValueError | TypeError | OverflowError)


def sqlstate(error: BaseException) -> str:
    """Return PostgreSQL's code of an error; empty if there is none."""
    return str(getattr(error.__cause__, "sqlstate", None) or "")


def describe(error: BaseException) -> str:
    """Return the class of an error and its code, for log records."""
    return f"{type(error).__name__} {sqlstate(error)}".strip()
