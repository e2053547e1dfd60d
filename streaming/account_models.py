"""The database rows of limits and budgets, and of the accounts that they bound.

Money is in billionths of a US dollar: whole numbers add up exactly on every database.
"""

from typing import ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

#: The fields of `Limit` that limit something.
LIMITS = (
    "concurrent_runs",
    "runs_per_minute",
    "tokens_per_day",
    "tokens_per_month",
    "cost_per_day",
    "cost_per_month",
)


#: Two names of 128 characters, quoted, beside the name of an agent.
MAX_ACCOUNT_CHARS = 1000


def account_key(kind: str, *names: str) -> str:
    """Return the key of an account, as in `user:ORGANIZATION:USER`.

    The names are quoted: each may contain the separator.
    """
    return ":".join([kind, *map(quote_name, names)])


def quote_name(name: str) -> str:
    """Return a name as a part of an account's key."""
    return name.replace("%", "%25").replace(":", "%3A")


class LimitSubject(models.TextChoices):
    """The kinds of callers that a limit bounds."""

    ORGANIZATION = "organization", _("organization")
    USER = "user", _("user")
    KEY = "key", _("API key")


class Limit(models.Model):
    """The limits of a caller; empty fields limit nothing.

    For each kind of caller the most specific row applies: an organization's before
    that of all organizations, a named user's or key's before that of each one.
    """

    organization = models.ForeignKey(
        "streaming.Organization",
        models.CASCADE,
        null=True,
        blank=True,
        db_index=False,
        related_name="limits",
        help_text=_("Empty: every organization."),
    )
    kind = models.CharField(max_length=16, choices=LimitSubject.choices)
    name = models.CharField(
        max_length=64,
        blank=True,
        help_text=_(
            "The primary key of a user, or the prefix of an API key. Empty: each one."
        ),
    )
    concurrent_runs = models.PositiveIntegerField(null=True, blank=True)
    runs_per_minute = models.PositiveIntegerField(null=True, blank=True)
    tokens_per_day = models.PositiveBigIntegerField(null=True, blank=True)
    tokens_per_month = models.PositiveBigIntegerField(null=True, blank=True)
    cost_per_day = models.DecimalField(
        max_digits=12,
        decimal_places=4,
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text=_("In US dollars; a day is one of UTC."),
    )
    cost_per_month = models.DecimalField(
        max_digits=12,
        decimal_places=4,
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text=_("In US dollars; a month is one of UTC."),
    )

    class Meta:
        ordering: ClassVar = ["organization", "kind", "name"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["organization", "kind", "name"],
                name="limit_unique_in_organization",
            ),
            models.UniqueConstraint(
                fields=["kind", "name"],
                condition=Q(organization__isnull=True),
                name="limit_unique_without_organization",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.name}".strip()

    def clean(self) -> None:
        """Refuse a row that limits nothing, or names a caller that cannot be."""
        if self.kind == LimitSubject.ORGANIZATION and self.name:
            message = _("A limit of an organization names no user or key.")
            raise ValidationError({"name": message})
        if all(getattr(self, name) is None for name in LIMITS):
            raise ValidationError(_("Set at least one limit."))
        same = Limit.objects.filter(
            organization=self.organization, kind=self.kind, name=self.name
        )
        if same.exclude(pk=self.pk).exists():
            raise ValidationError(_("This caller has a limit already."))


class Account(models.Model):
    """The use of one caller in one period: settled, and reserved by calls under way."""

    #: The caller (`account_key`).
    key = models.CharField(max_length=MAX_ACCOUNT_CHARS)
    #: The period and its beginning, as in `day 2026-05-01`.
    period = models.CharField(max_length=32)
    runs = models.PositiveBigIntegerField(default=0)
    tokens = models.PositiveBigIntegerField(default=0)
    cost = models.PositiveBigIntegerField(default=0)
    reserved_tokens = models.PositiveBigIntegerField(default=0)
    reserved_cost = models.PositiveBigIntegerField(default=0)
    ends_at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["key", "period"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["key", "period"], name="account_unique_in_period"
            )
        ]
        indexes: ClassVar = [models.Index(fields=["ends_at"], name="account_by_age")]

    def __str__(self) -> str:
        return f"{self.key} {self.period}"


class Reservation(models.Model):
    """The highest use of a model call under way, in one account of its caller.

    The run has no foreign key: a deleted run's reservation must still be settled.
    """

    run_id = models.CharField(max_length=32)
    #: The number of the call in its run.
    call = models.PositiveIntegerField()
    account = models.ForeignKey(Account, models.CASCADE)
    tokens = models.PositiveBigIntegerField()
    cost = models.PositiveBigIntegerField()

    class Meta:
        ordering: ClassVar = ["run_id", "account"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["run_id", "account"], name="reservation_unique_in_account"
            )
        ]

    def __str__(self) -> str:
        return f"{self.run_id} {self.call}"
