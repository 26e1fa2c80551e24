"""`scorer explain` for a gateway: the same words, asked over HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Event, Timer
from typing import TYPE_CHECKING, Any

from scorer.cli.settings import Settings
from scorer.core.errors import TransientError
from scorer.core.ports import Report

if TYPE_CHECKING:
    from scorer.edges.web.explained import Explain

EXPLAIN_S_MAX = 20.0


def explainer(settings: Settings, report: Report) -> Explain:
    """What answers the gateway's questions; see explained.Explain."""

    def explain(prediction_id: str, payload: bool) -> tuple[Mapping[str, Any], Sequence[str]]:
        # They load the models' runtime, which a gateway that is never asked does without.
        from scorer.cli.explain_view import explanation_document, explanation_lines
        from scorer.cli.explain_wiring import explanation, parse_id
        from scorer.cli.verify_wiring import scene
        from scorer.services.patience import StoppedError

        wanted, stop = parse_id(prediction_id), Event()
        chosen = wanted.stream_of(settings)
        overdue = Timer(EXPLAIN_S_MAX, stop.set)
        overdue.daemon = True
        overdue.start()
        try:
            with scene(settings, chosen, None, stop, report) as it:
                found = explanation(it, wanted, "live")
        except StoppedError:
            raise TransientError(f"it was not found within {EXPLAIN_S_MAX:.0f} s: ask scorer explain") from None
        finally:
            overdue.cancel()
        document = explanation_document(found, payload=payload)
        return document, list(explanation_lines(document))

    return explain
