"""Other people's apps as training functions: a Hydra app in a multirun, and a LightningCLI script."""
