"""SQL for the counts and searches of the lists: one query a page, not one a row."""

from typing import Any

from django.db import models
from django.db.models import OuterRef, QuerySet, Subquery


def per_parent(
    children: QuerySet[Any], parent: str, aggregate: models.Aggregate
) -> Subquery:
    """Aggregate over the `children` of the outer query's row.

    Each number has a subquery: a join of two types of children would pair every child
    of one type with every child of the other.
    """
    grouped = children.filter(**{parent: OuterRef("pk")}).order_by().values(parent)
    return Subquery(grouped.annotate(aggregated=aggregate).values("aggregated"))
