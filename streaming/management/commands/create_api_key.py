"""`manage.py create_api_key` creates an API key and prints it once."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime, time, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from streaming import audit
from streaming.access_models import DEFAULT_SCOPES
from streaming.auth.keys.issue import create_key
from streaming.management.selections import user_key
from streaming.models import Organization
from streaming.principals import SCOPES


class Command(BaseCommand):
    """Creates a key; the key alone goes to the standard output."""

    help = (
        "Creates an API key for an organization, or for a user in it, and prints it. "
        "It is shown this once: only its SHA-256 is stored."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument("--organization", required=True, metavar="ID")
        parser.add_argument(
            "--user",
            type=user_key,
            metavar="PK",
            help="primary key of the user for whom the key acts (default: the key acts "
            "for the whole organization)",
        )
        parser.add_argument(
            "--name", required=True, help="the program or person that gets the key"
        )
        parser.add_argument(
            "--scope",
            action="append",
            choices=SCOPES,
            help=f"may be repeated (default: {', '.join(DEFAULT_SCOPES)})",
        )
        parser.add_argument(
            "--expires",
            type=_parse_time,
            metavar="TIME",
            help="a date or time (2027-01-31, 2027-01-31T12:00Z) or a number of days "
            "(90d); default: never",
        )

    def handle(self, *args: object, **options: Any) -> None:  # noqa: ANN401
        """Create the key and print it."""
        org_id = options["organization"]
        if not (0 < len(org_id) <= 128 and org_id.isprintable()):
            raise CommandError("--organization: expected 1 to 128 printable characters")
        organization, is_new = Organization.objects.get_or_create(org_id=org_id)
        try:
            new = create_key(
                organization,
                name=options["name"],
                user=options["user"] or "",
                scopes=options["scope"] or DEFAULT_SCOPES,
                expires_at=options["expires"],
                actor=audit.COMMAND,
            )
        except ValidationError as error:
            raise CommandError(_sentence(error)) from None
        if is_new:
            self.stderr.write(f"The organization {org_id!r} is new.")
        self.stderr.write(f"Key {new.prefix}; it is not shown again:")
        self.stdout.write(new.text)


def _parse_time(text: str) -> datetime:
    """Return the time that an argument names."""
    if text.endswith("d") and text[:-1].isdecimal():
        return timezone.now() + timedelta(days=min(int(text[:-1]), 36_525))
    try:
        if date := parse_date(text):
            return timezone.make_aware(datetime.combine(date, time.max))
        if moment := parse_datetime(text):
            return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
    except ValueError:  # of the right form, but no date
        pass
    raise ArgumentTypeError(f"{text!r} is not a time: see --help")


def _sentence(error: ValidationError) -> str:
    return "; ".join(
        f"--{field}: {' '.join(messages)}"
        for field, messages in error.message_dict.items()
    )
