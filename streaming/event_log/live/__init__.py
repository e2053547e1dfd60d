"""Live paths: they bring new events to readers in other processes at once.

To add one, write a class with the methods of `base.LiveTail` in one file, and return it
here.
"""

from functools import partial
from importlib.util import find_spec

from streaming.event_log.live.base import MakeLive, NoLive
from streaming.storage.alias import app_connection


def choose_live(path: str, redis_url: str) -> MakeLive:
    """Return the live path of the settings: Redis, else PostgreSQL, else none."""
    if path == "none":
        return NoLive
    if redis_url:
        from streaming.event_log.live.redis import RedisLive  # an optional package

        return partial(RedisLive, redis_url)
    if app_connection().vendor == "postgresql" and find_spec("psycopg"):
        from streaming.event_log.live.postgres import PostgresLive

        return PostgresLive
    return NoLive
