"""The hardware that trials run on, and what it costs."""
