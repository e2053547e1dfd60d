"""An installed app whose tools damage their process, if they can."""
