"""The concert study."""
