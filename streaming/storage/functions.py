"""SQL functions that SQLite and PostgreSQL name differently.

Vendor-specific SQL needs Django's query compiler, whose classes are not documented.
"""

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Aggregate, Func, TextField
from django.db.models.sql.compiler import SQLCompiler


class Joined(Aggregate):
    """The texts of a group as one text."""

    function = "string_agg"
    template = "%(function)s(%(expressions)s, ' ')"
    output_field = TextField()

    def as_sqlite(
        self,
        compiler: SQLCompiler,
        connection: BaseDatabaseWrapper,
        **context: Any,  # noqa: ANN401  (as in Django)
    ) -> tuple[str, Any]:
        """Return the SQL for SQLite, where the function has another name."""
        return self.as_sql(compiler, connection, function="group_concat", **context)


class PartsText(Func):
    """The readable text in a message's parts, as one text.

    Searching the stored JSON itself would match its keys and miss escaped characters.
    """

    arity = 1
    template = (
        "(SELECT string_agg(coalesce("
        "part ->> 'text', part ->> 'result', part ->> 'arguments'), ' ')"
        " FROM jsonb_array_elements(%(expressions)s) AS part)"
    )
    output_field = TextField()

    def as_sqlite(
        self,
        compiler: SQLCompiler,
        connection: BaseDatabaseWrapper,
        **context: Any,  # noqa: ANN401  (as in Django)
    ) -> tuple[str, Any]:
        """Return the SQL for SQLite, with its JSON functions."""
        template = (
            "(SELECT group_concat(coalesce("
            "json_extract(part.value, '$.text'), json_extract(part.value, '$.result'),"
            " json_extract(part.value, '$.arguments')), ' ')"
            " FROM json_each(%(expressions)s) AS part)"
        )
        return self.as_sql(compiler, connection, template=template, **context)
