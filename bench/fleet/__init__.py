"""A fleet under faults: nginx, web processes and workers with services of their own.

`python -m bench.fleet` restarts, kills, suspends and cuts off each kind of process
while clients stream through nginx, and compares their events with the log.
"""
