"""The arguments `--organization` and `--user` of commands."""

from argparse import ArgumentParser, ArgumentTypeError

from django.core.management.base import CommandError

from streaming.models import Organization
from streaming.personal_data.selection import Selection


def add_selection(parser: ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--organization", required=True, metavar="ID")
    parser.add_argument(
        "--user",
        type=user_key,
        metavar="PK",
        help="primary key of a user, who may have been deleted (default: the whole "
        "organization)",
    )


def user_key(text: str) -> str:
    """Return the primary key of a user.

    An empty one, as from an unset variable of a script, must not select all users.
    """
    if not text.strip():
        raise ArgumentTypeError("expected a primary key, and not an empty text")
    return text


def find_selection(organization: str, user: str | None) -> Selection:
    """Return the rows that the arguments name. Raises `CommandError`."""
    found = Organization.objects.filter(org_id=organization.replace("\0", "")).first()
    if found is None:
        raise CommandError(f"There is no organization {organization!r}.")
    return Selection(found, user or "")
