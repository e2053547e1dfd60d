"""Faults done to real servers: killed, stopped, cut off from their database.

`python -m bench.faults` does them at length, the tests (tests/faults) in short.
"""
