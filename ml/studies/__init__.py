"""The only place where the rooms of ml meet."""
