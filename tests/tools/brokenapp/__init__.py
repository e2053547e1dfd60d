"""An installed app whose tools cannot be imported."""
