"""Contract tests of the private parts that `streaming/storage` uses."""

import pytest
from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor
from django.db.models import DateTimeField, JSONField
from django.utils import timezone

from streaming.models import Organization, Run
from tests.private_parts import relies_on

pytestmark = pytest.mark.django_db


def test_model_state() -> None:
    with relies_on(
        "django",
        "Model._state.adding and _state.db",
        "A row that storage.sql inserted is inserted again by save(), which fails.",
    ):
        row = Organization(org_id="acme")
        assert (row._state.adding, row._state.db) == (True, None)
        row.save()
        assert (row._state.adding, row._state.db) == (False, "default")


def test_copied_connection() -> None:
    with relies_on(
        "django",
        "BaseDatabaseWrapper.copy, settings_dict and is_usable",
        "The event log's threads share the pool of connections with tools.",
    ):
        own = connections["default"].copy()
        assert own.alias == "default"
        assert own.settings_dict == connection.settings_dict
        own.settings_dict["OPTIONS"].pop("pool", None)
        own.settings_dict["CONN_MAX_AGE"] = 12345
        assert own.settings_dict != connection.settings_dict
        own.ensure_connection()
        assert own.is_usable()
        own.close()
        assert own.connection is None


def test_model_options() -> None:
    with relies_on(
        "django",
        "Options.concrete_fields, pk, db_table, and Field.column",
        "The statements of storage.sql cannot be built: no run can start.",
    ):
        assert [field.column for field in Organization._meta.concrete_fields] == [
            "id",
            "org_id",
            "created_at",
        ]
        assert Organization._meta.pk is not None
        assert Organization._meta.pk.column == "id"
        assert Organization._meta.db_table in connection.introspection.table_names()


def test_field_preparation() -> None:
    now = timezone.now()
    with relies_on(
        "django",
        "Field.pre_save and Field.get_db_prep_save",
        "Values that storage.sql writes are not those that the ORM would write.",
    ):
        created_at = Run._meta.get_field("created_at")
        assert created_at.pre_save(Run(created_at=now), True) == now
        field: DateTimeField[object, object] = DateTimeField()
        moment = field.get_db_prep_save(now, connection)
        assert moment == created_at.get_db_prep_save(now, connection)
        prepared = JSONField().get_db_prep_save({"a": 1}, connection)
        assert prepared is not None
        assert prepared != {"a": 1}


def test_quoted_names() -> None:
    with relies_on(
        "django",
        "connection.ops.quote_name",
        "The statements of storage.sql cannot be built: no run can start.",
    ):
        assert connection.ops.quote_name("order") == '"order"'


def test_migration_executor() -> None:
    with relies_on(
        "django",
        "MigrationExecutor.migration_plan and loader.graph.leaf_nodes",
        "/ready reports missing migrations wrongly, or fails.",
    ):
        executor = MigrationExecutor(connection)
        leaves = executor.loader.graph.leaf_nodes()
        assert "streaming" in [app for app, _ in leaves]
        assert executor.migration_plan(leaves) == []
        first = [("streaming", None)]
        assert executor.migration_plan(first)
