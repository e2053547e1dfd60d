"""API keys and the signed tokens of runs: made, recognised, looked up, revoked."""
