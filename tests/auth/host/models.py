"""The project's users: known by their e-mail address, with UUIDs as keys."""

import uuid

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models


class MemberManager(BaseUserManager["Member"]):
    """Creates members."""

    def create_user(self, email: str, password: str) -> "Member":
        """Create a member who can log in."""
        member = self.model(email=email)
        member.set_password(password)
        member.save()
        return member


class Member(AbstractBaseUser):
    """A user without Django's permissions."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    email = models.EmailField(unique=True)
    is_active = models.BooleanField(default=True)

    objects = MemberManager()

    USERNAME_FIELD = "email"

    def __str__(self) -> str:
        return self.email
