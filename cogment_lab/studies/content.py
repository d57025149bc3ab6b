"""What the page shows at each step of a study, as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from cogment_lab.studies.definition import CODE_PLACE, Preflight, Study
from cogment_lab.studies.ledger import Participant

__all__ = ["content_of", "preflight_problems"]


def content_of(study: Study, person: Participant) -> dict[str, Any]:
    """Return what the person's step is about."""
    if person.status == "declined":
        return {}
    if person.status in ("abandoned", "withdrawn"):
        return {"text": study.farewell}
    if person.step == "consent":
        return {"text": study.consent}
    if person.step == "preflight":
        return {**asdict(study.preflight), "keys": list(study.preflight.keys)}
    if person.step == "instructions":
        return {"pages": list(study.instructions)}
    if person.step == "practice":
        return {"done": person.done_practice, "total": study.practice}
    if person.step == "trials":
        return {"done": person.done_trials, "total": study.trials}
    if person.step == "questionnaire":
        return {"questions": [asdict(question) for question in study.questionnaire]}
    code, url = person.completion_code, study.return_url
    if url is not None and code is not None:
        url = url.replace(CODE_PLACE, quote(code, safe=""))
    return {"text": study.thanks, "code": code, "return_url": url}


def preflight_problems(preflight: Preflight, measured: Mapping[str, Any]) -> dict[str, str]:
    """Return what a participant's keyboard, window and connection lack, by name; nothing where all is well.

    Args:
        preflight: What the study needs.
        measured: ``keys`` (codes that were pressed), ``width`` and ``height`` (CSS pixels),
            ``round_trip_ms``.
    """
    problems = {}
    keys = measured.get("keys")
    missing = [key for key in preflight.keys if not isinstance(keys, list) or key not in keys]
    if missing:
        problems["keys"] = f"not pressed yet: {', '.join(missing)}"
    for name, least in (("width", preflight.min_width), ("height", preflight.min_height)):
        if _number(measured.get(name)) < least:
            problems[name] = f"the window's {name} must be at least {least} pixels"
    if not _number(measured.get("round_trip_ms"), math.inf) <= preflight.max_round_trip_ms:
        problems["round_trip_ms"] = f"the server must answer within {preflight.max_round_trip_ms:g} ms"
    return problems


def _number(value: Any, otherwise: float = -1.0) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return otherwise
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        return otherwise
    return number if math.isfinite(number) else otherwise
