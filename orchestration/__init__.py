"""When: everything Dagster, and the nocturne command."""
