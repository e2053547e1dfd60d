"""What ours is measured against: each a small server, as its framework's docs have it.

PROTOCOL says how the provider is asked; the SDKs find it by their own environment.
"""
