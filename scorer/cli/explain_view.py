"""One prediction explained, as people and machines read it. Without `payload`, nothing of what upstream sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from json import dumps
from typing import TYPE_CHECKING, Any

from scorer.cli.letters_view import HEX_BYTES_MAX, plain, shown, time_text
from scorer.core.compose import PROVENANCE, digest
from scorer.core.verdicts import CAUSES, Cause, entity_field

if TYPE_CHECKING:
    from scorer.cli.explain_wiring import Explanation

VALUES_SHOWN = 12
"""How many values of a tensor people are shown; --json has them all."""


def explanation_document(found: Explanation, *, payload: bool) -> dict[str, Any]:
    """All that is known of a prediction."""
    verdict = found.verdict
    document: dict[str, Any] = {
        "prediction_id": found.id.text,
        "stream": found.stream,
        "lane": found.lane,
        "verdict": None
        if verdict is None
        else {
            "level": verdict.level.value,
            "cause": verdict.cause.value if verdict.cause else None,
            "why": verdict.why,
            "fields": list(verdict.fields),
        },
        "event": _event(found, payload=payload),
        "bundle": _bundle(found),
        "deployment": _deployment(found),
        "published": _published(found, payload=payload),
        "searched_whole": found.published is not None or found.whole,
        "scored_again": _fields(found, None if found.again is None else found.again.fields, payload=payload),
    }
    if found.inside is not None:
        document["rejected_now"] = found.inside.rejected
        document["outputs"] = {name: shown(value) for name, value in found.inside.outputs.items()}
        document["rules"] = _rules(found)
        document["defaults"] = [
            {"input": each.input, "field": each.field, "why": each.why, "value": shown(each.value)}
            for each in found.defaults
        ]
        if payload:
            document["tensors"] = {
                name: {"type": found.inside.dtypes[name], "values": shown(value)}
                for name, value in found.inside.tensors.items()
            }
    return document


def explanation_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """The same for people."""
    event, bundle, made = document["event"], document["bundle"], document["published"]
    yield f"{'prediction':<12} {plain(document['prediction_id'])}, lane {document['lane']}"
    yield f"{'verdict':<12} {plain(_verdict(document))}"
    yield f"{'event':<12} {event['topic']}/{event['partition']} offset {event['offset']}: " + (
        f"{event['bytes']} bytes of {event['timestamp']}, schema id {event['schema_id']}, digest {event['digest']}"
        if event["there"]
        else event["absent"]
    )
    if event["undecoded"]:
        yield f"{'':<12} not decoded: {plain(event['undecoded'])}"
    yield from (f"{at:>10}  {plain(path)}  {kind}  {dumps(value)}" for at, path, kind, value in event.get("fields", []))
    if "hex" in event:
        yield f"{'bytes':<12} {event['hex']}" + (" ..." if event["hex_omitted"] else "")
    for each in document.get("defaults", []):
        yield f"{'default':<12} {each['input']}: {each['field']} is {each['why']}, " + (
            f"{each['value']} items" if each["why"] in ("padded", "cut") else f"the model sees {dumps(each['value'])}"
        )
    for name, tensor in document.get("tensors", {}).items():
        yield f"{'input':<12} {name} {tensor['type']} {_short(tensor['values'])}"
    yield from (f"{'output':<12} {name} {_short(value)}" for name, value in document.get("outputs", {}).items())
    for each in document.get("rules", []):
        bounds = ", ".join(f"{label} from {bound}" for label, bound in each["bins"])
        yield f"{'rule':<12} {each['field']} of {each['of']} = {each['number']}: {each['label']} ({bounds})"
    if document.get("rejected_now"):
        yield f"{'rejected now':<12} {plain(document['rejected_now'])}"
    yield f"{'bundle':<12} " + (
        plain(f"{bundle['model']} sha256 {bundle['sha256']} at {bundle['place']}") if bundle["model"] else bundle["why"]
    )
    if bundle["model"] and bundle["why"]:
        yield f"{'':<12} {plain(bundle['why'])}"
    yield from (f"{'deployed':<12} {plain(line)}" for line in _deployed(document["deployment"]))
    if made is None:
        yield f"{'published':<12} no prediction of that id was found" + (
            "" if document["searched_whole"] else " in what was read, which is not all there is; ask scorer verify"
        )
        return
    build = plain(f"{made['scorer_version']}, {made['runtime']}, {made['cpu_class']}")
    yield f"{'published':<12} at {made['at']}, scored {made['scored_at']} by scorer {build}"
    yield from (f"{'':<12} {name} = {dumps(value)}" for name, value in made["fields"].items())


def _event(found: Explanation, *, payload: bool) -> dict[str, Any]:
    partition, offset = found.id.place
    event: dict[str, Any] = {
        "topic": found.id.topic,
        "partition": partition,
        "offset": offset,
        "there": found.event is not None,
        "absent": found.absent,
        "schema_id": found.schema_id,
        "undecoded": found.undecoded,
    }
    if found.event is None:
        return event
    value = found.event.value or b""
    event |= {"timestamp": time_text(found.event.timestamp), "bytes": len(value), "digest": digest(value)}
    if payload:
        event["hex"] = value[:HEX_BYTES_MAX].hex()
        event["hex_omitted"] = max(0, len(value) - HEX_BYTES_MAX)
        parts = found.dissection.parts if found.dissection is not None else []
        event["fields"] = [[part.start, part.path, part.kind, shown(part.value)] for part in parts]
        event["fields_omitted"] = 0 if found.dissection is None else found.dissection.omitted
    return event


def _bundle(found: Explanation) -> dict[str, Any]:
    recipe = found.recipe
    if isinstance(recipe, str):
        place, hand, why = "", "", recipe
    else:
        place, hand, why = recipe.model.bundle.place, recipe.model.bundle.sha256, ""
    if found.bundle is not None and hand and hand != found.bundle.sha256:
        why = f"what is there now has other bytes: sha256 {hand}"
    return {
        "model": None if found.bundle is None else found.bundle.label,
        "sha256": None if found.bundle is None else found.bundle.sha256,
        "place": place,
        "why": why,
    }


def _deployment(found: Explanation) -> dict[str, Any]:
    live, intent = found.live, found.intent
    return {
        "live": None
        if live is None
        else {
            "model": live.bundle.label,
            "sha256": live.bundle.sha256,
            "first_offset": live.first_offset,
            "activated_at": time_text(live.said_ms),
            "by": live.who,
        },
        "intent": None
        if intent is None
        else {"who": intent.who, "said_at": time_text(intent.said_ms), "why": intent.why, "place": intent.place},
    }


def _deployed(deployment: Mapping[str, Any]) -> Iterator[str]:
    live, intent = deployment["live"], deployment["intent"]
    if intent is not None:
        why = f": {intent['why']}" if intent["why"] else ""
        yield f"{intent['said_at']} by {intent['who']}{why}"
    if live is None:
        yield "no activation covers this event"
    else:
        yield f"{live['model']} live from offset {live['first_offset']} on, by {live['by']} at {live['activated_at']}"


def _published(found: Explanation, *, payload: bool) -> dict[str, Any] | None:
    if found.published is None:
        return None
    own = found.published.fields
    return {
        "at": f"{found.output} {found.published.place[0]}:{found.published.place[1]}",
        "scored_at": time_text(own["scored_at"]),
        "scorer_version": own["scorer_version"],
        "runtime": own["runtime"],
        "cpu_class": own["cpu_class"],
        "fields": _fields(found, own, payload=payload),
    }


def _fields(found: Explanation, fields: Mapping[str, Any] | None, *, payload: bool) -> dict[str, Any] | None:
    """A prediction's fields; without payload, not those that say who it is about."""
    if fields is None:
        return None
    hidden = set()
    if not payload:
        contract = None if isinstance(found.recipe, str) else found.recipe.model.contract
        outputs = {rule.field for rule in contract.outputs} if contract is not None else set()
        hidden = (
            {"event_id", entity_field(contract)}
            if contract is not None
            else set(fields) - (PROVENANCE.keys() - {"event_id"})
        )
        hidden -= outputs
    return {name: shown(value) for name, value in fields.items() if name not in hidden}


def _rules(found: Explanation) -> list[dict[str, Any]]:
    if isinstance(found.recipe, str) or found.again is None or found.again.fields is None:
        return []
    fields = found.again.fields
    return [
        {
            "field": rule.field,
            "of": rule.of,
            "number": shown(fields[rule.of]),
            "label": fields[rule.field],
            "bins": shown(rule.bins),
        }
        for rule in found.recipe.model.contract.outputs
        if rule.of
    ]


def _verdict(document: Mapping[str, Any]) -> str:
    verdict = document["verdict"]
    if verdict is None:
        return "none: there is no prediction to hold against the event"
    cause = verdict["cause"]
    if cause is None:
        return "bit equal: scored again now, it comes out the same"
    return f"{verdict['level'].replace('_', ' ')}, {cause.replace('_', ' ')}: {CAUSES[Cause(cause)]}; {verdict['why']}"


def _short(value: Any) -> str:
    if isinstance(value, list) and len(value) > VALUES_SHOWN:
        return f"{dumps(value[:VALUES_SHOWN])[:-1]}, ...] ({len(value)} values)"
    return dumps(value)
