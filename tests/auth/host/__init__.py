"""A host project: its own user model, Django's default middleware, and its login."""
