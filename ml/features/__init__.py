"""Sound as numbers, computed once."""
