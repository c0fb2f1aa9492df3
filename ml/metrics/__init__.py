"""What a trial is worth, and how sure that is."""
