"""Inside the training process: the callback, the `Trial` handle, rank start-up, random streams, checkpoints."""
