"""Tools for tests: the stand-in provider, the server launcher, the SSE reader."""
