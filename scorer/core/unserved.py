"""Outputs of an ONNX graph that the scorer does not serve: a draft that passed them over in silence looked whole."""

from __future__ import annotations

import onnxruntime as ort

from scorer.core.signature import DTYPES

AXES_MAX = 2


def unserved(onnx: bytes) -> dict[str, str]:
    """Output to why it is not served, for people. The graph is one that ONNX Runtime loads (core/model.py)."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    found = {}
    for each in session.get_outputs():
        if "map(" in each.type:
            found[each.name] = (
                f"is {each.type}: export probabilities as a tensor (skl2onnx: options={{'zipmap': False}})"
            )
        elif each.type not in DTYPES:
            found[each.name] = f"is {each.type}: served are {', '.join(DTYPES)}"
        elif len(each.shape) > AXES_MAX:
            found[each.name] = f"has {len(each.shape)} axes: served are {AXES_MAX} at most"
    return found
