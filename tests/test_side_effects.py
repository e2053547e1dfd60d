"""Importing a module or constructing an object of the app changes no global state."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

SCRIPT = """
import gc, importlib, json, os, pkgutil, signal, sys, threading, weakref

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
import django
from django.apps import apps
from django.core import signals
from django.dispatch import Signal
import django.db, django.core.cache, django.core.handlers.base, tests.settings

def receivers(signal):
    alive = [r() if isinstance(r, weakref.ref) else r for _, r, _ in signal.receivers]
    return {f"{each.__module__}.{each.__qualname__}" for each in alive if each}

def state():
    return {
        "gc": [*gc.get_threshold(), gc.get_freeze_count()],
        "signal handlers": [repr(signal.getsignal(n)) for n in signal.valid_signals()],
        "environment": dict(os.environ),
        "threads": [thread.name for thread in threading.enumerate()],
        "request signals": [sorted(receivers(each)) for each in
            (signals.request_started, signals.request_finished)],
    }

before = state()

from streaming.apps import StreamingConfig

class Quiet(StreamingConfig):
    def ready(self):
        pass

sys.modules["quiet"] = sys.modules["__main__"]
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
tests.settings.INSTALLED_APPS[0] = "quiet.Quiet"
django.setup()
import streaming
for module in pkgutil.walk_packages(streaming.__path__, "streaming."):
    importlib.import_module(module.name)
imported = state()

import asyncio
from streaming import conf
from streaming.server.asgi import make_application
from streaming.server.handler import Handler
from streaming.storage.database import Database
from streaming.runs.executors.in_process import InProcessExecutor

make_application()
Handler(2)
Database()
constructed = state()
connected = sorted(name for each in gc.get_objects() if isinstance(each, Signal)
                   for name in receivers(each) if name.startswith("streaming"))
print(json.dumps([before, imported, constructed, connected]))
"""


def test_importing_and_constructing_change_nothing() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, cwd=ROOT, text=True
    )
    assert ended.returncode == 0, ended.stderr
    before, imported, constructed, connected = json.loads(ended.stdout)
    assert imported == before
    assert constructed == before
    assert connected == []
