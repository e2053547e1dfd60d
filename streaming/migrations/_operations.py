"""Operations of migrations that several of them share."""

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import AddField


class AddColumn(AddField):
    """Adds a field with a constant default, without rewriting the table."""

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        """Add the column."""
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            field = model._meta.get_field(self.name)
            BaseDatabaseSchemaEditor.add_field(schema_editor, model, field)
