"""The table of recent logins, by which all processes of the site count failures."""

from django.db import models


class LoginAttempt(models.Model):
    """A login that failed in the last minutes, or whose password is being checked.

    The name and the address are hashed: users type passwords into the wrong field.
    """

    name = models.CharField(max_length=64)
    address = models.CharField(max_length=64)
    at = models.DateTimeField(db_index=True)

    class Meta:
        indexes = [
            models.Index(fields=["name", "address"], name="login_by_name_and_address"),
            models.Index(fields=["address"], name="login_by_address"),
        ]

    def __str__(self) -> str:
        return f"login at {self.at}"
