"""SQL for the counts and searches of the lists: one query a page, not one a row."""

import re
from typing import Any

from django.db import models
from django.db.models import OuterRef, Q, QuerySet, Subquery

from streaming.storage.search import SEARCH_CHARS, matching

_WORDS = re.compile(r'"([^"]+)"|(\S+)')


def per_parent(
    children: QuerySet[Any], parent: str, aggregate: models.Aggregate
) -> Subquery:
    """Aggregate over the `children` of the outer query's row.

    Each number has a subquery: a join of two types of children would pair every child
    of one type with every child of the other.
    """
    grouped = children.filter(**{parent: OuterRef("pk")}).order_by().values(parent)
    return Subquery(grouped.annotate(aggregated=aggregate).values("aggregated"))


def words_of(search: str) -> list[str]:
    """Return the words of a search, and its phrases in quotes."""
    return [phrase or word for phrase, word in _WORDS.findall(search[:SEARCH_CHARS])]


def conversation_with(word: str) -> Q:
    """Return the condition for conversations with a word in their text or ids."""
    return (
        matching(word)
        | Q(conversation_id__icontains=word)
        | Q(organization__org_id__icontains=word)
    )
