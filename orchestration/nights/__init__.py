"""Nights: when trials run by themselves, which ones, and what is said of it in the morning."""
