"""An app whose tools take their time."""
