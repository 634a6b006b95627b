"""What a Hydra multirun needs beyond a study: its overrides as a space, its app as a training function, its folders."""
