"""The pages of API keys: create one and see it once, revoke it, see its last use."""

from typing import TYPE_CHECKING, Any, ClassVar, cast

from django import forms
from django.contrib import admin, messages
from django.db import IntegrityError
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from streaming import audit
from streaming.access_models import DEFAULT_SCOPES
from streaming.admin import display
from streaming.admin.filters import OrganizationFilter
from streaming.admin.history import HistoryAdmin
from streaming.auth.keys.issue import revoke_keys, save_key
from streaming.auth.keys.material import PREFIX, NewKey, new_prefix
from streaming.models import ApiKey, Organization

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[ApiKey]
else:
    _ModelForm = forms.ModelForm

#: The colours of the states of runs that mean the same.
_COLOURS = {"active": "completed", "expired": "cancelled", "revoked": "failed"}
SENT_BEFORE = (
    "This form was sent before, and its key is shown only once. Open this page again "
    "to create another one."
)
SCOPE_LABELS = {
    "run": "run: start runs",
    "read": "read: read runs and conversations",
    "cancel": "cancel: cancel runs",
    "approve": "approve: decide about tool calls",
    "admin": "admin: all of these, and delete conversations",
}
FORM_FIELDS = ("name", "organization", "user", "scopes", "expires_at", "prefix")
#: The attribute of a row between its creation and the response: the key itself, which
#: is stored neither in the database nor in a session.
_NEW = "_new_key"


class KeyForm(_ModelForm):
    """The form of a new key.

    It has the key's prefix, so that the same form cannot be sent twice, as by a reload
    of the page that shows the key. A key gives its creator no rights that the creator
    lacks: only a superuser may become another user, or delete conversations.
    """

    #: The user of the admin, in the class for one request.
    creator: ClassVar[Any]
    organization = forms.CharField(
        max_length=128,
        initial="default",
        widget=forms.TextInput({"class": "vTextField"}),
        help_text="Id of the organization, which is created if it is new.",
    )
    prefix = forms.RegexField(  # type: ignore[assignment]  # Django moves fields away
        PREFIX,
        widget=forms.HiddenInput,
        initial=new_prefix,
    )
    scopes = forms.MultipleChoiceField(
        choices=SCOPE_LABELS,
        initial=DEFAULT_SCOPES,
        widget=forms.CheckboxSelectMultiple,
    )

    class Meta:
        model = ApiKey
        # The organization may not exist yet: `save_model` sets it.
        fields = ("name", "user", "scopes", "expires_at", "prefix")

    def clean_organization(self) -> str:
        """Return the id of an organization."""
        org_id = str(self.cleaned_data["organization"])
        if not org_id.isprintable():
            raise forms.ValidationError("Printable characters only.")
        return org_id

    def clean_user(self) -> str:
        """Return the primary key of a user as whom the creator may act."""
        user = str(self.cleaned_data["user"])
        if user not in ("", str(self.creator.pk)) and not self.creator.is_superuser:
            raise forms.ValidationError(
                f"Only a superuser creates keys of other users. Your own primary key "
                f"is {self.creator.pk}."
            )
        return user

    def clean_scopes(self) -> list[str]:
        """Return scopes that the creator may give."""
        scopes: list[str] = self.cleaned_data["scopes"]
        if "admin" in scopes and not self.creator.is_superuser:
            raise forms.ValidationError("Only a superuser gives the scope admin.")
        return scopes

    def clean(self) -> None:
        """Refuse a form that was sent before, and one without a valid prefix."""
        super().clean()
        prefix = self.cleaned_data.get("prefix")
        if prefix is None or ApiKey.objects.filter(prefix=prefix).exists():
            # For the whole form, since the error of a hidden field is hidden.
            raise forms.ValidationError(SENT_BEFORE)


class StateFilter(admin.SimpleListFilter):
    """A filter of keys by their state."""

    title = parameter_name = "state"

    def lookups(
        self,
        request: HttpRequest,
        model_admin: Any,  # noqa: ANN401
    ) -> list[tuple[str, str]]:
        """Return the states."""
        return [(state, state) for state in _COLOURS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the keys in the chosen state."""
        expired = Q(revoked_at=None, expires_at__lte=timezone.now())
        match self.value():
            case "active":
                return queryset.filter(revoked_at=None).exclude(expired)
            case "expired":
                return queryset.filter(expired)
            case "revoked":
                return queryset.filter(revoked_at__isnull=False)
        return queryset


class ApiKeyAdmin(HistoryAdmin):
    """Keys: they are created and revoked, and never changed."""

    form = KeyForm
    list_display = (
        "key",
        "organization_link",
        "user_key",
        "scope_names",
        "state",
        "used",
        "expires",
        "created",
    )
    list_filter = (StateFilter, OrganizationFilter, "created_at", "last_used_at")
    list_select_related = ("organization",)
    search_fields = ("name", "prefix", "organization__org_id", "user")
    search_help_text = "By name, prefix, organization id or primary key of the user"
    actions = ("revoke",)
    add_form_template = "admin/streaming/apikey/add_form.html"
    fields = (
        ("organization_link", "user_key", "scope_names"),
        ("public_prefix", "state", "used"),
        ("created", "expires", "revoked"),
    )

    public_prefix = display.column("prefix", str, "prefix")
    organization_link = display.column("organization", display.link, "organization")
    created = display.column("created_at", display.moment, "created")
    expires = display.column("expires_at", display.moment, "expires")
    revoked = display.column("revoked_at", display.moment, "revoked")
    used = display.column("last_used_at", display.moment, "last used")

    def has_add_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        """Return true for users with permission to add keys."""
        return request.user.has_perm("streaming.add_apikey")

    def has_delete_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        """Return false: a revoked key explains the runs that it started."""
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Return true for users with permission to change keys: to revoke them."""
        return request.user.has_perm("streaming.change_apikey")

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:  # noqa: ANN401
        """Return the fields of the form, or those of a key."""
        return FORM_FIELDS if obj is None else self.fields

    def get_form(
        self,
        request: HttpRequest,
        obj: Any = None,  # noqa: ANN401
        change: bool = False,
        **kwargs: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Return the form of a new key for the user of a request."""
        if obj is not None:
            return super().get_form(request, obj, change, **kwargs)
        kwargs["fields"] = KeyForm.Meta.fields
        made = super().get_form(request, obj, change, **kwargs)
        form = cast("type[KeyForm]", made)
        form.creator = request.user  # Django has made the class for this call
        return form

    def get_readonly_fields(
        self, request: HttpRequest, obj: Model | None = None
    ) -> Any:  # noqa: ANN401
        """Return the fields that are not part of the form."""
        return () if obj is None else super().get_readonly_fields(request, obj)

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Return the form, or the key that it has created.

        The second click of two may pass the check of the form at the same time.
        """
        try:
            return super().add_view(request, form_url, extra_context)
        except (IntegrityError, forms.ValidationError):
            self.message_user(request, SENT_BEFORE, messages.ERROR)
            return HttpResponseRedirect(reverse("admin:streaming_apikey_changelist"))

    def save_model(
        self,
        request: HttpRequest,
        obj: ApiKey,
        form: "forms.ModelForm[ApiKey]",
        change: bool,
    ) -> None:
        """Store the key of the form, and its organization if that is new."""
        org_id = form.cleaned_data["organization"]
        obj.organization, _ = Organization.objects.get_or_create(org_id=org_id)
        new = NewKey.make(obj.prefix)
        save_key(obj, new, audit.user_name(request.user.pk))
        setattr(obj, _NEW, new)

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the key in this response, and nowhere else.

        A message to the next page would be stored in a session or a cookie.
        """
        context = {
            **self.admin_site.each_context(request),
            "title": f"API key {obj.name}",
            "opts": self.model._meta,
            "media": self.media,
            "original": obj,
            # Its representation, as in the report of an error, has no secret.
            "key": getattr(obj, _NEW),
        }
        response = TemplateResponse(
            request, "admin/streaming/apikey/created.html", context
        )
        response["Cache-Control"] = "no-store"
        return response

    def page_context(self, request: HttpRequest, key: ApiKey | None) -> dict[str, Any]:
        """Return the title, and whether the key can be revoked."""
        if key is None:
            return {"title": "Create an API key"}
        can_revoke = key.state == "active" and self.has_revoke_permission(request)
        return {"title": f"API key {key.name}", "can_revoke": can_revoke}

    @admin.action(description="Revoke selected API keys", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """Revoke keys: their requests are refused and their streams end."""
        prefixes = list(queryset.values_list("prefix", flat=True))
        revoked = revoke_keys(prefixes, audit.user_name(request.user.pk))
        report = f"{len(revoked)} of {len(prefixes)} API keys revoked."
        level = messages.SUCCESS if revoked else messages.WARNING
        self.message_user(request, report, level)

    @admin.display(description="key", ordering="name")
    def key(self, key: ApiKey) -> str:
        """Return the name and the prefix."""
        return format_html("{}<small>{}</small>", key.name, key.prefix)

    @admin.display(description="user", ordering="user")
    def user_key(self, key: ApiKey) -> str:
        """Return the primary key of the user."""
        return key.user or display.EMPTY

    @admin.display(description="scopes")
    def scope_names(self, key: ApiKey) -> str:
        """Return the scopes."""
        return ", ".join(key.scopes)

    @admin.display(description="state")
    def state(self, key: ApiKey) -> SafeString:
        """Return the state as a coloured badge."""
        return display.badge(_COLOURS[key.state], key.state)
