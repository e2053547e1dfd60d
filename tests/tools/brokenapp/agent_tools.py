"""Fails as a typing mistake would."""

raise ZeroDivisionError("the module is broken")
