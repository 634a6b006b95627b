"""Everything that is shown: tables, a trial's history, figures, live view, exports. Only reads the state."""
