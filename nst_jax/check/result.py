"""What a check says."""

import dataclasses

OK, REMARK, FAILED = "ok", "remark", "FAILED"


@dataclasses.dataclass(frozen=True)
class Line:
    """One thing that was looked at.

    Attributes:
      name: what it was.
      text: what was found, with its figures.
      verdict: `OK`; `REMARK`, for what may be meant so; `FAILED`.
    """

    name: str
    text: str
    verdict: str = OK

    def __str__(self) -> str:
        return f"{self.verdict:<6} {self.name}: {self.text}"
