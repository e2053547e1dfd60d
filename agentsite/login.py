"""The admin's login: failures are counted, logged and, above a limit, refused."""

import logging
from math import ceil
from typing import Any

from django.contrib import admin
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from agentsite import login_throttle

logger = logging.getLogger(__name__)


class LoginForm(AuthenticationForm):
    """A form of login for staff, which checks no password after too many failures."""

    #: Seconds until the next attempt; 0: the password was checked.
    retry_after = 0

    def clean(self) -> dict[str, Any]:
        """Check the password, unless this login must wait."""
        address = self.request.META.get("REMOTE_ADDR", "") if self.request else ""
        try:
            attempt = login_throttle.begin(self.data.get("username", ""), address)
        except login_throttle.TooManyAttempts as error:
            self.retry_after = error.retry_after
            extra = {"address": address, "retry_after": self.retry_after}
            logger.warning("login refused", extra=extra)
            minutes = ceil(self.retry_after / 60)
            plural = "s" if minutes > 1 else ""
            raise ValidationError(
                f"Too many failed logins. Try again in {minutes} minute{plural}.",
                code="throttled",
            ) from None
        try:
            cleaned = super().clean()
        except ValidationError:
            logger.warning("login failed", extra={"address": address})
            raise
        if self.get_user() is not None:  # None: a field was empty, nothing was checked
            login_throttle.forget(attempt)
        return cleaned

    def confirm_login_allowed(self, user: User) -> None:
        """Refuse users who are not staff as a wrong password is refused."""
        super().confirm_login_allowed(user)
        if not user.is_staff:
            raise self.get_invalid_login_error()


class AdminSite(admin.AdminSite):
    """Django's admin with this form, and a status that programs understand."""

    login_form = LoginForm

    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the form, or log a user in; 429 with `Retry-After` after failures."""
        response = super().login(request, extra_context)
        if isinstance(response, TemplateResponse) and response.context_data:
            form = response.context_data.get("form")
            if isinstance(form, LoginForm) and form.retry_after:
                response.status_code = 429
                response.headers["Retry-After"] = str(form.retry_after)
        return response
