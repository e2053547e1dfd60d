"""Faults done to real servers: killed, stopped, cut off from their database.

`make faults` does them at length, the tests (tests/faults) in short.
"""
