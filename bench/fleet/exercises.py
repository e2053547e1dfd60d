"""The faults: each is done to a fleet while clients stream through it."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping

from bench.faults.databases import is_locked
from bench.fleet.processes import Fleet, start_all
from streaming.testing.server import Server

Exercise = Callable[[Fleet], Awaitable[None]]
#: The time for which a service is stopped.
OUTAGE_SECONDS = 3.0
#: The time for which a network is cut.
CUT_SECONDS = 8.0


async def nothing(fleet: Fleet) -> None:
    """Do nothing: the gaps of this exercise are those of the load."""
    await asyncio.sleep(fleet.size.lease_seconds)


async def roll_webs(fleet: Fleet) -> None:
    """Restart the web processes one after the other."""
    for web in fleet.webs:
        await fleet.restart(web)


async def roll_workers(fleet: Fleet) -> None:
    """Restart the workers one after the other."""
    for worker in fleet.workers:
        await fleet.restart(worker)


async def roll_everything(fleet: Fleet) -> None:
    """Restart each process of the fleet, one after the other, as an upgrade does."""
    await roll_workers(fleet)
    await roll_webs(fleet)
    await reload_nginx(fleet)
    await restart_redis(fleet)
    await restart_postgres(fleet)


async def reload_nginx(fleet: Fleet) -> None:
    """Have nginx read its configuration again: its old processes end their streams."""
    fleet.nginx.send_signal(signal.SIGHUP)
    await asyncio.sleep(1)  # nginx reports no end of a reload


async def kill_web(fleet: Fleet) -> None:
    """Kill a web process."""
    await fleet.kill(fleet.webs[0])
    await _lease(fleet)


async def kill_worker(fleet: Fleet) -> None:
    """Kill a worker."""
    await fleet.kill(fleet.executing[-1])
    await _lease(fleet)


async def kill_nginx(fleet: Fleet) -> None:
    """Kill nginx with all its processes."""
    await fleet.kill(fleet.nginx)


async def kill_postgres(fleet: Fleet) -> None:
    """Kill PostgreSQL, which recovers from its write-ahead log when it starts."""
    await _killed(fleet.postgres)


async def kill_redis(fleet: Fleet) -> None:
    """Kill Redis, which then is empty."""
    if fleet.redis:
        await _killed(fleet.redis)


async def restart_postgres(fleet: Fleet) -> None:
    """Stop PostgreSQL for a while."""
    await asyncio.to_thread(fleet.postgres.stop)
    await asyncio.sleep(OUTAGE_SECONDS)
    await start_all([fleet.postgres])


async def restart_redis(fleet: Fleet) -> None:
    """Stop Redis for a while."""
    if fleet.redis:
        await asyncio.to_thread(fleet.redis.stop)
        await asyncio.sleep(OUTAGE_SECONDS)
        await start_all([fleet.redis])


async def suspend_worker(fleet: Fleet) -> None:
    """Suspend a process that executes runs for longer than its lease."""
    await _suspended(fleet, fleet.executing[0])


async def cut_database(fleet: Fleet) -> None:
    """Stall the connections between a web process and the database."""
    way = fleet.proxies[0]
    way.stall()
    await asyncio.sleep(CUT_SECONDS)
    way.mend()


async def refuse_database(fleet: Fleet) -> None:
    """Break the connections between a web process and the database."""
    way = fleet.proxies[0]
    way.refuse()
    await asyncio.sleep(CUT_SECONDS)
    way.mend()


async def _killed(service: Server) -> None:
    service.kill()
    await asyncio.sleep(OUTAGE_SECONDS)
    await start_all([service])


async def _lease(fleet: Fleet) -> None:
    """Wait for the lease of the runs that were executed, and their next attempt."""
    await asyncio.sleep(fleet.size.lease_seconds + 2)


async def _suspended(fleet: Fleet, server: Server) -> None:
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)
    # Rows that it has locked are not free for others before it goes on.
    while await asyncio.to_thread(is_locked, fleet.directory, fleet.database_url):
        os.kill(pid, signal.SIGCONT)
        await asyncio.sleep(0.01)
        os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(2.5 * fleet.size.lease_seconds)
    os.kill(pid, signal.SIGCONT)


ALL: Mapping[str, Exercise] = {
    "nothing": nothing,
    "rolling restart of the web processes": roll_webs,
    "rolling restart of the workers": roll_workers,
    "rolling restart of everything": roll_everything,
    "reload of nginx": reload_nginx,
    "kill -9 of a web process": kill_web,
    "kill -9 of a worker": kill_worker,
    "kill -9 of nginx": kill_nginx,
    "kill -9 of Redis": kill_redis,
    "kill -9 of PostgreSQL": kill_postgres,
    "restart of Redis": restart_redis,
    "restart of PostgreSQL": restart_postgres,
    "a worker suspended beyond its lease": suspend_worker,
    "network cut between web and database, stalling": cut_database,
    "network cut between web and database, refusing": refuse_database,
}


def applicable(fleet_has_workers: bool, fleet_has_redis: bool) -> dict[str, Exercise]:
    """Return the exercises for the processes that a fleet has."""
    left_out = set()
    if not fleet_has_workers:
        left_out.add(roll_workers)
    if not fleet_has_redis:
        left_out |= {kill_redis, restart_redis}
    return {name: do for name, do in ALL.items() if do not in left_out}
