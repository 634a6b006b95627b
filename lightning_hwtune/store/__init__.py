"""Everything that outlives a process: the event log, the lease on a study, checkpoint files and their disk budget."""
