"""What a Hydra multirun needs in addition to a study: overrides as a space, the app as a function, and folders."""
