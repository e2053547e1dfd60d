"""The database rows of access: API keys, and the audit log.

`models` makes them models of the app.
"""

from collections.abc import Iterable
from typing import ClassVar

from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from streaming.principals import SCOPES

#: The scopes of a key whose creator names none.
DEFAULT_SCOPES = ("run", "read", "cancel")


def validate_scopes(scopes: Iterable[str]) -> None:
    """Raise `ValidationError` unless these are scopes, and at least one."""
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise ValidationError(
            _("%(given)s: expected one or more of %(known)s."),
            params={
                "given": ", ".join(unknown) or _("no scope"),
                "known": ", ".join(SCOPES),
            },
        )


class ApiKey(models.Model):
    """A credential of a program: it acts for an organization, or for a user there.

    The secret itself is stored nowhere. Its hash is a plain SHA-256: a slow hash helps
    against guesses of a password, and no one guesses 256 random bits.
    """

    organization = models.ForeignKey(
        "streaming.Organization", models.CASCADE, related_name="api_keys"
    )
    #: The primary key of the user, as text; see `Run.user`.
    user = models.CharField(
        max_length=64,
        blank=True,
        default="",
        help_text=_(
            "Primary key of the user for whom the key acts; empty: the key acts for "
            "the whole organization."
        ),
    )
    name = models.CharField(
        max_length=100, help_text=_("The program or person that has the key.")
    )
    prefix = models.CharField(
        max_length=16, unique=True, help_text=_("The public part of the key.")
    )
    secret_hash = models.CharField(max_length=64, editable=False)
    scopes = models.JSONField(default=list, validators=[validate_scopes])
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(
        null=True, blank=True, help_text=_("Empty: the key does not expire.")
    )
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")

    def __str__(self) -> str:
        # Without the name: Django's admin keeps this text when the key is erased.
        return self.prefix

    def clean(self) -> None:
        """Refuse a user that does not exist, and an expiry in the past.

        The key of the user gets the form that it has in runs, as in "7" for "07".
        """
        errors = {}
        if self.user:
            try:
                user = get_user_model()._default_manager.get(pk=self.user)
                self.user = str(user.pk)
            except (ObjectDoesNotExist, ValueError, ValidationError):
                message = _("No user has the primary key %(user)s.")
                errors["user"] = ValidationError(message, params={"user": self.user})
        if self.expires_at and self.expires_at <= timezone.now():
            errors["expires_at"] = ValidationError(_("This time is in the past."))
        if errors:
            raise ValidationError(errors)

    @property
    def state(self) -> str:
        """The state of the key: `active`, `expired` or `revoked`."""
        if self.revoked_at:
            return "revoked"
        is_expired = self.expires_at is not None and self.expires_at <= timezone.now()
        return "expired" if is_expired else "active"


class AuditRecord(models.Model):
    """An action on access or on data: made once, never changed.

    It has no foreign keys, since it outlives the rows that it names, and no personal
    data except primary keys of users.
    """

    at = models.DateTimeField(_("time"), default=timezone.now, editable=False)
    #: `user:PK` of a user of the admin, `key:PREFIX`, or `command`.
    actor = models.CharField(max_length=80)
    #: The kind of object and a verb, as in `key.revoked`.
    action = models.CharField(max_length=40)
    #: The object: `key:PREFIX`, `conversation:ID`, `user:PK`.
    target = models.CharField(max_length=160, blank=True)
    org_id = models.CharField(_("organization"), max_length=128, blank=True)
    details = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering: ClassVar = ["-at", "-id"]
        indexes: ClassVar = [
            models.Index(fields=["-at", "-id"], name="audit_newest_first"),
            models.Index(fields=["org_id", "-at"], name="audit_of_organization"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.target}".strip()
