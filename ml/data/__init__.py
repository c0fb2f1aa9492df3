"""Recordings: what is there, and which part each belongs to."""
