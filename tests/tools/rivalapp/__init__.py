"""An installed app with a tool whose name another app has taken."""
