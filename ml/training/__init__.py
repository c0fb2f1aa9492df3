"""The one engine that trains them all."""
