"""Which trials a `nocturne up` knows that serves the lab now: a trial declared since its start waits for a Reload."""

from __future__ import annotations

import http.client
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from ml.studies.study import Study
from orchestration.resources import Bench
from storage.lab import Lab

PATIENCE_SECONDS = 10.0

_QUESTION = 'assetNodeOrError(assetKey: {path: [%s, "trained_model"]}) { ... on AssetNode { partitionKeys } }'


def not_loaded(bench: Bench, studies: Sequence[Study]) -> dict[str, set[str]]:
    """By study, the trials that are declared and not loaded; nothing of what cannot be told, or while nobody is up."""
    known = _loaded(bench.lab, studies)
    return {
        study.name: {trial.name for trial in bench.trials(study).trials} - known[study.name]
        for study in studies
        if study.name in known
    }


def _loaded(lab: Lab, studies: Sequence[Study]) -> dict[str, set[str]]:
    asked = " ".join(f"{study.name}: {_QUESTION % json.dumps(study.name)}" for study in studies)
    with suppress(OSError, ValueError, KeyError, TypeError, http.client.HTTPException):  # nobody is up, or not yet
        address = urlsplit(json.loads((lab.locks / "up.json").read_text(encoding="utf-8"))["address"])
        said = _ask(str(address.hostname), int(address.port or 80), f"{{ {asked} }}")
        return {name: set(node["partitionKeys"]) for name, node in said["data"].items() if "partitionKeys" in node}
    return {}


def _ask(host: str, port: int, question: str) -> Any:
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("POST", "/graphql", json.dumps({"query": question}), {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()
