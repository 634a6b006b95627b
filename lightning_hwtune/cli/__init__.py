"""The command line `hwtune`: its commands, and what they read and print."""
