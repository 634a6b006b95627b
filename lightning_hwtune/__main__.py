"""`python -m lightning_hwtune`: the command `hwtune`."""

from __future__ import annotations

from lightning_hwtune.entry.cli import main

if __name__ == "__main__":
    main()
