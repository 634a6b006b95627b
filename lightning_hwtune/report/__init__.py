"""Everything that is shown: tables, the story of a trial, figures, the live view, exports. Reads a state, changes nothing."""
