"""Validation of the entries of run.json, which a stranger or a failing disk may have written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from numbers import Real

from l2l_cli.core.nodes import Node

STATUSES = ("new", "running", "interrupted", "failed", "done")

TRAINED = ("updates", "skipped", "seconds", "meta_parameters", "best_validation")
"""Entries of a finished training that reports show."""

_NOTHING = type(None)
_KINDS: dict[str, tuple[type, ...]] = {
    "status": (str,),
    "results": (int,),
    "identity": (str,),
    "message": (str,),
    "headline": (str,),
    "certificate": (str,),
    "certificates": (list,),
    "versions": (dict,),
    "commit": (str, _NOTHING),
    "machine": (str,),
    "command": (str,),
    "device": (str,),
    "kernels": (str,),
    "criterion": (str,),
    "seconds": (int, float),
    "cpu_seconds": (dict,),
    "reused_cpu_seconds": (dict,),
    "began": (dict,),
    "checksums": (dict,),
    "peak_memory_bytes": (int,),
    "seeds": (list,),
    "parents": (list,),
    "updates": (int,),
    "skipped": (int,),
    "skipped_updates": (list,),
    "meta_parameters": (int,),
    "best_validation": (int, float, _NOTHING),
    "search": (list,),
    "chosen": (dict,),
    "closing": (list,),
    "course": (dict,),
    "beside": (dict,),
}


def why_damaged(facts: Node) -> str:
    """Return what is wrong with the entries of run.json, such as "no status"; empty if they are valid."""
    if "status" not in facts:
        return "no status"
    for name, kinds in _KINDS.items():
        if name in facts and (not isinstance(facts[name], kinds) or isinstance(facts[name], bool)):
            return f"{name} is a {type(facts[name]).__name__}"
    if facts["status"] not in STATUSES:
        return f"status is {facts['status']!r}"
    numbers = [facts.get(name, {}) for name in ("cpu_seconds", "reused_cpu_seconds", "chosen")]
    if not all(isinstance(value, Real) for each in numbers for value in each.values()):
        return "seconds or chosen values that are not numbers"
    if facts["status"] == "done" and not all(isinstance(each, Mapping) for each in facts.get("search", [])):
        return "search is not a list of trials"
    try:
        for when in facts.get("began", {}).values():
            datetime.fromisoformat(when)
    except (TypeError, ValueError):
        return "began holds something that is not a time"
    return ""
