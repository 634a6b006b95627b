"""Everything that is shown: tables, a trial's story, figures, live view, exports. Reads a state, changes nothing."""
