"""The process of a rank: the fork server that creates it, how ranks find each other, and its connection."""
