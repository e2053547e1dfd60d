"""The export and the erasure of an organization's data, or of a user's in it."""
