"""A study as a page in a browser: served while it runs, or written as one file. Reads studies, never changes one."""
