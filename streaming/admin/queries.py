"""What the lists count and search, in SQL: one query for a page, not one for a row."""

from typing import Any

from django.db import models
from django.db.models import OuterRef, QuerySet, Subquery


def per_parent(
    children: QuerySet[Any], parent: str, aggregate: models.Aggregate
) -> Subquery:
    """`aggregate` over those of `children` that belong to the outer query's row.

    A subquery for each number, since joining two kinds of children would pair every
    child of one kind with every child of the other.
    """
    grouped = children.filter(**{parent: OuterRef("pk")}).order_by().values(parent)
    return Subquery(grouped.annotate(aggregated=aggregate).values("aggregated"))
