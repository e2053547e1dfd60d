"""An installed app that has tools."""
