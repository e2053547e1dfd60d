"""procrastinate's app for the settings of tests."""

from procrastinate.contrib.django.apps import ProcrastinateConfig


class JobTables(ProcrastinateConfig):
    """The app with its tables alone: its `ready` fails if INSTALLED_APPS changes."""

    def ready(self) -> None:
        pass
