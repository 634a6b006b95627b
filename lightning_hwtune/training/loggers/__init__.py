"""The user's loggers in a study: one run and one folder per trial over all of its segments."""
