"""The rows that belong to an organization, or to one of its users."""

import re
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec
from django.apps import apps
from django.db.models import Model, Q, QuerySet

from streaming import audit
from streaming.account_models import account_key, quote_name
from streaming.models import (
    Account,
    ApiKey,
    AuditRecord,
    Conversation,
    Limit,
    LimitSubject,
    Message,
    Organization,
    Run,
)

M = TypeVar("M", bound=Model)

#: Rows that a query reads at most.
PAGE = 100
#: Models of an organization that have properties of `Selection`.
_REACHED = {Conversation, Run}


class Selection(msgspec.Struct, frozen=True):
    """An organization, or one of its users."""

    organization: Organization
    #: The primary key of the user, as text; empty: the whole organization.
    user: str = ""

    @property
    def conversations(self) -> QuerySet[Conversation]:
        """The conversations that belong to the selection as a whole."""
        found = Conversation.objects.filter(organization=self.organization)
        return found.filter(owner=self.user) if self.user else found

    @property
    def runs(self) -> QuerySet[Run]:
        """All runs of the selection."""
        found = Run.objects.filter(organization=self.organization)
        return (
            found.filter(Q(owner=self.user) | Q(user=self.user)) if self.user else found
        )

    @property
    def shared_runs(self) -> QuerySet[Run]:
        """The runs of the user in conversations that also belong to others."""
        if not self.user:
            return Run.objects.none()
        return self.runs.exclude(owner=self.user)

    @property
    def copied_messages(self) -> QuerySet[Message]:
        """The copies of the user's messages in conversations of others."""
        if not self.user:
            return Message.objects.none()
        found = Message.objects.filter(copied_from=self.user)
        return found.filter(conversation__organization=self.organization).exclude(
            conversation__owner=self.user
        )

    @property
    def audit_records(self) -> QuerySet[AuditRecord]:
        """The records about the selection."""
        found = AuditRecord.objects.filter(org_id=self.organization.org_id)
        if not self.user:
            return found
        name = audit.user_name(self.user)
        return found.filter(Q(actor=name) | Q(target=name))

    @property
    def keys(self) -> QuerySet[ApiKey]:
        """The API keys."""
        found = ApiKey.objects.filter(organization=self.organization)
        return found.filter(user=self.user) if self.user else found

    @property
    def limits(self) -> QuerySet[Limit]:
        """The limits that are those of the selection alone.

        A row for all organizations is one of them if it names a key of the selection,
        or its user, who has no data in another organization.
        """
        of_keys = Q(kind=LimitSubject.KEY, name__in=self.keys.values("prefix"))
        within = Q(organization=self.organization)
        if not self.user:
            return Limit.objects.filter(of_keys | within)
        of_user = Q(kind=LimitSubject.USER, name=self.user)
        of_all = Limit.objects.filter(of_user, organization=None)
        if of_all.exists() and not self._is_elsewhere:
            within |= Q(organization=None)
        return Limit.objects.filter(of_keys | (of_user & within))

    @property
    def _is_elsewhere(self) -> bool:
        """Whether the user has data in another organization; no index finds them."""
        return any(
            model._default_manager.exclude(organization=self.organization)
            .filter(user=self.user)
            .exists()
            for model in (Run, ApiKey)
        )

    @property
    def accounts(self) -> QuerySet[Account]:
        """The accounts of use, which name their caller in text."""
        org_id = self.organization.org_id
        organization = re.escape(quote_name(org_id))
        user = re.escape(quote_name(self.user)) or "[^:]*"
        names = Q(key__regex=f"^(user|agent:[^:]*):{organization}:{user}$")
        if not self.user:
            names |= Q(key=account_key("organization", org_id))
        prefixes = self.keys.values_list("prefix", flat=True)
        keys = [account_key("key", prefix) for prefix in prefixes]
        return Account.objects.filter(names | Q(key__in=keys))

    def rows(self, model: type[Model]) -> QuerySet[Any]:
        """Return the rows of one of `own_models`."""
        if model is Limit:
            return self.limits
        if model is Account:
            return self.accounts
        found = model._default_manager.filter(organization=self.organization)
        if not self.user:
            return found
        return found.filter(user=self.user) if _has(model, "user") else found.none()


def own_models() -> list[type[Model]]:
    """Return the models that refer to an organization themselves, keys last."""
    models = apps.get_app_config("streaming").get_models()
    # Accounts and limits first: they are found by the keys.
    own = (
        model
        for model in models
        if model is Account or (_has(model, "organization") and model not in _REACHED)
    )
    return sorted(own, key=lambda model: model is ApiKey)


def in_pages(rows: QuerySet[M], size: int = PAGE) -> Iterator[M]:
    """Yield rows in the order of their keys, a page in memory at a time."""
    page = list(rows.order_by("pk")[:size])
    while page:
        last = page[-1].pk  # the caller may delete the row
        yield from page
        page = list(rows.order_by("pk").filter(pk__gt=last)[:size])


def _has(model: type[Any], field: str) -> bool:
    return any(each.name == field for each in model._meta.get_fields())
