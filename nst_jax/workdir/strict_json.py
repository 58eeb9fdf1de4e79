"""JSON as it is defined: without NaN, and not deeper than anything here is."""

import json
import math
from typing import Any


def to_json(content: object, indent: int | None = None) -> str:
    """JSON, which has no NaN and no infinity: null stands for them."""

    def finite(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: finite(value) for key, value in node.items()}
        if isinstance(node, list | tuple):
            return [finite(item) for item in node]
        return None if isinstance(node, float) and not math.isfinite(node) else node

    return json.dumps(finite(content), indent=indent, allow_nan=False)


def from_json(text: str | bytes) -> Any:
    """What a text says.

    Raises:
      ValueError: it is not JSON, or nested as no file of this program is.
    """
    try:
        return json.loads(text, parse_constant=_refused)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refused(constant: str) -> None:
    raise ValueError(f"it holds {constant}, which is no JSON")
