"""Authentication classes of django-ninja, as a project has them."""

from django.contrib.auth.models import User
from django.http import HttpRequest
from ninja.errors import AuthenticationError, AuthorizationError, HttpError
from ninja.security import APIKeyHeader, HttpBearer, SessionAuth

session = SessionAuth()


class Bearer(HttpBearer):
    """Returns the user of a token."""

    def authenticate(self, request: HttpRequest, token: str) -> object:
        """Return the user with this name; some tokens are refused."""
        errors: dict[str, HttpError] = {
            "revoked": AuthenticationError(),
            "blocked": AuthorizationError(message="This user is blocked."),
        }
        if error := errors.get(token):
            raise error
        return User.objects.filter(username=token).first()


class AsyncBearer(HttpBearer):
    """The same, asynchronous."""

    async def authenticate(self, request: HttpRequest, token: str) -> object:
        """Return the user with this name."""
        if token == "revoked":
            raise AuthenticationError()
        return await User.objects.filter(username=token).afirst()


class Token(APIKeyHeader):
    """Returns the token, and sets the user of the request."""

    param_name = "X-Token"

    def authenticate(self, request: HttpRequest, key: str | None) -> object:
        """Return the key of a user."""
        user = User.objects.filter(username=key).first()
        if user is None:
            return None
        request.user = user
        return key


class Secret(APIKeyHeader):
    """Returns true, and names no user."""

    param_name = "X-Token"

    def authenticate(self, request: HttpRequest, key: str | None) -> object:
        """Return whether the key is the secret."""
        return key == "secret"
