"""Compute: sound in, numbers out. Chooses no path and knows no database."""
