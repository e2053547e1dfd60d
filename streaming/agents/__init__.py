"""Agents as code: their declarations, their discovery, and their loops.

An app declares agents in its `agents.py`, which is imported at start:

    from streaming import Agent, Context

    support = Agent("support", instructions="You help customers with their orders.")
"""
