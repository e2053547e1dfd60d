"""Unambiguous keys of accounts: the names in them are quoted.

Of two callers that shared an account because of a colon in their ids, the one with the
longest known organization keeps it. Keys of which 255 characters were stored are left:
those accounts begin anew.
"""

from django.db import migrations, models
from django.db.models import Q

#: Keys with more colons than separators.
WITH_COLONS = r"^(organization:.*:|user:.*:.*:|agent:.*:.*:.*:)"


class WidenKey(migrations.AlterField):
    """Widens the column; SQLite has no limit of characters, and copies no table."""

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        """Alter the column of PostgreSQL, which rewrites nothing."""
        if schema_editor.connection.vendor != "sqlite":
            super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label, schema_editor, from_state, to_state):
        """Leave the column: it may hold longer keys than the narrow one could."""


def quote(name):
    """Return a name as a part of a key."""
    return name.replace("%", "%25").replace(":", "%3A")


def unquote(name):
    """Return the name of a part of a key."""
    return name.replace("%3A", ":").replace("%25", "%")


def quoted_key(key, organizations):
    """Return a key with quoted names; `organizations` are the known ids."""
    kind, _, rest = key.partition(":")
    if kind == "organization":
        return f"{kind}:{quote(rest)}"
    if kind == "agent":
        agent, _, rest = rest.partition(":")
        kind = f"{kind}:{agent}"
    known = [each for each in organizations if rest.startswith(f"{each}:")]
    organization = max(known, key=len, default=rest.partition(":")[0])
    user = rest[len(organization) + 1 :]
    return f"{kind}:{quote(organization)}:{quote(user)}"


def quote_names(apps, schema_editor):
    """Quote the names in the stored keys, the longest key first.

    A new key is longer than the old one. It may be the old key of another account, which
    is renamed before.
    """
    alias = schema_editor.connection.alias
    organizations = apps.get_model("streaming", "Organization").objects.using(alias)
    unusual = Q(org_id__contains=":") | Q(org_id__contains="%")
    known = set(organizations.filter(unusual).values_list("org_id", flat=True))
    accounts = apps.get_model("streaming", "Account").objects.using(alias)
    found = accounts.filter(Q(key__contains="%") | Q(key__regex=WITH_COLONS))
    keys = set(found.order_by().values_list("key", flat=True))
    for key in sorted(keys, key=len, reverse=True):
        accounts.filter(key=key).update(key=quoted_key(key, known))


def unquote_names(apps, schema_editor):
    """Write the names as the previous version does."""
    alias = schema_editor.connection.alias
    accounts = apps.get_model("streaming", "Account").objects.using(alias)
    quoted = accounts.filter(key__contains="%").order_by()
    for key in sorted(set(quoted.values_list("key", flat=True)), key=len):
        rows = accounts.filter(key=key)
        taken = accounts.filter(key=unquote(key)).values("period")
        rows.exclude(period__in=list(taken.values_list("period", flat=True))).update(
            key=unquote(key)[:255]
        )


class Migration(migrations.Migration):

    dependencies = [
        ("streaming", "0014_workers"),
    ]

    operations = [
        WidenKey(
            model_name="account",
            name="key",
            field=models.CharField(max_length=1000),
        ),
        migrations.RunPython(quote_names, unquote_names),
    ]
