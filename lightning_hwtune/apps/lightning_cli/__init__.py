"""A LightningCLI script as a training function: its configuration, its study and its segments."""
