"""An installed app without tools."""
