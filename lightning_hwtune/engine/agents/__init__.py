"""Host agents: a study trains on other nodes. One agent per node runs the local executor, and joins the study."""
