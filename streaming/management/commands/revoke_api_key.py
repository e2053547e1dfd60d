"""`manage.py revoke_api_key PREFIX` ends the use of API keys."""

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from streaming import audit
from streaming.auth.keys.issue import revoke_keys
from streaming.models import ApiKey


class Command(BaseCommand):
    """Revokes keys by their prefixes."""

    help = (
        "Revokes API keys. Within five seconds all processes refuse their requests and "
        "end their open streams. Their runs continue."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the prefixes."""
        parser.add_argument("prefix", nargs="+", help="the 12 digits after `agk_`")

    def handle(self, *args: object, prefix: list[str], **_: object) -> None:
        """Revoke the keys; an unknown prefix revokes none of them."""
        prefixes = [each.removeprefix("agk_") for each in prefix]
        known = set(
            ApiKey.objects.filter(prefix__in=prefixes).values_list("prefix", flat=True)
        )
        if unknown := [each[:12] for each in prefixes if each not in known]:
            raise CommandError(f"There is no key with the prefix {', '.join(unknown)}.")
        revoked = revoke_keys(prefixes, audit.COMMAND)
        for each in prefixes:
            state = "revoked" if each in revoked else "was revoked before"
            self.stdout.write(f"{each}: {state}")
