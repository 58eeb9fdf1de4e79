"""Result of one check of a term."""

from typing import NamedTuple

OK, REMARK, FAILED = "ok", "remark", "FAILED"


class CheckResult(NamedTuple):
    """Result of one check.

    Attributes:
      verdict: `OK`, `FAILED`, or `REMARK` for something that may be intended.
      text: the measured values, and the remedy of a failure.
    """

    verdict: str
    text: str
