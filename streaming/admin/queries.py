"""What the lists count and search, in SQL: one query for a page, not one for a row."""

from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Aggregate, Func, OuterRef, QuerySet, Subquery, TextField
from django.db.models.sql.compiler import SQLCompiler


def per_parent(
    children: QuerySet[Any], parent: str, aggregate: models.Aggregate
) -> Subquery:
    """`aggregate` over those of `children` that belong to the outer query's row.

    A subquery for each number, since joining two kinds of children would pair every
    child of one kind with every child of the other.
    """
    grouped = children.filter(**{parent: OuterRef("pk")}).order_by().values(parent)
    return Subquery(grouped.annotate(aggregated=aggregate).values("aggregated"))


class Joined(Aggregate):
    """The texts of a group as one text."""

    function = "string_agg"
    template = "%(function)s(%(expressions)s, ' ')"
    output_field = TextField()

    def as_sqlite(
        self,
        compiler: SQLCompiler,
        connection: BaseDatabaseWrapper,
        **context: Any,  # noqa: ANN401  (as Django's own)
    ) -> tuple[str, Any]:
        """SQLite has it under another name."""
        return self.as_sql(compiler, connection, function="group_concat", **context)


class PartsText(Func):
    """Everything in a message's parts that a person can read, as one text.

    Searching the stored JSON itself would find its keys and miss what it escapes.
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
        **context: Any,  # noqa: ANN401  (as Django's own)
    ) -> tuple[str, Any]:
        """The same with SQLite's JSON functions."""
        template = (
            "(SELECT group_concat(coalesce("
            "json_extract(part.value, '$.text'), json_extract(part.value, '$.result'),"
            " json_extract(part.value, '$.arguments')), ' ')"
            " FROM json_each(%(expressions)s) AS part)"
        )
        return self.as_sql(compiler, connection, template=template, **context)
