"""Searchers that need other libraries. Each module imports its library when a searcher is used, not before.

The searchers of the core need numpy alone. A class of this room is listed in `core/searchers/__init__.py` by its import
path, so that the core finds it by name without importing it.
"""
