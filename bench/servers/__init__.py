"""What ours is measured against. DELTAS, PACE_MS and OPENAI_BASE_URL configure them."""
