"""Lets generated requests meet something: ids and cursors that there are, and a site that answers.

Only requests that are meant to be good are touched, and those for things by id only half of the time, so that what does
not exist is asked for, too.
"""

import json
import os
import zlib

import schemathesis

SCENE = json.loads(os.environ["SCENE"])


def half_of(value):
    return zlib.crc32(str(value).encode()) % 2 == 0


def whole(value):
    """JSON Schema takes 60.0 for an integer, the service does not."""
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    # What a sequence of requests made, a later one of them may remove; what the scene needs stays.
    made_before = case.meta.phase.name.value == "stateful" or case.method.upper() == "DELETE"
    if not made_before:
        for name, value in (case.path_parameters or {}).items():
            if name in SCENE["ids"] and half_of(value):
                case.path_parameters[name] = SCENE["ids"][name]
    query = case.query or {}
    for name in ("source_id", "before"):
        if name in query and not made_before and half_of(query[name]):
            query[name] = SCENE["ids"][name]
    # A text that is no cursor is not good, and no schema can say so.
    query.pop("cursor", None)
    if "after" in query:
        query["after"] = SCENE["cursor"] if half_of(query["after"]) else ""
    if "last-event-id" in (case.headers or {}):
        case.headers["last-event-id"] = SCENE["cursor"]
    if "wait" in query:
        query["wait"] = 0
    if isinstance(case.body, dict):
        case.body = whole(case.body)
        # Nothing but the simulated site is asked, and what it has.
        if "base_url" in case.body:
            case.body |= SCENE["source"]
        for name in ("space_key", "scope_path"):
            if name in case.body:
                case.body[name] = SCENE["space"] if half_of(case.body[name]) else None
        if "cloud_id" in case.body:
            case.body["cloud_id"] = None
        if "api_token" in case.body:
            case.body["api_token"] = SCENE["source"]["api_token"]
