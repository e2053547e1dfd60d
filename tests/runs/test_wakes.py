"""Services are woken by any thread, while others come and go."""

import asyncio
import sys
import threading

from streaming.runs import wakes


async def test_services_may_connect_while_another_thread_wakes_them() -> None:
    woken: list[int] = []
    connected = [wakes.connect(lambda: woken.append(1)) for _ in range(300)]
    assert len(connected) == 300
    errors: list[Exception] = []
    ready = threading.Event()

    def wake() -> None:
        ready.set()
        try:
            for _ in range(40):
                wakes.wake_executors()
        except Exception as error:
            errors.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        thread = threading.Thread(target=wake)
        thread.start()
        ready.wait()
        while thread.is_alive():
            wakes.connect(lambda: None)
    finally:
        sys.setswitchinterval(interval)
    await asyncio.to_thread(thread.join)
    await asyncio.sleep(0)
    assert errors == []
    assert len(woken) == 300 * 40
