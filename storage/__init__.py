"""Memory: where things lie, and that nothing finished is lost."""
