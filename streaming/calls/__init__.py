"""Agents called by the project's own Python code: each call is a durable run.

`agent.Agent` is the class that projects import. Its methods start runs (`starting`),
which they return as `handle.AgentRun`.
"""
