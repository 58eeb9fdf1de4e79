"""The JSON files of a run directory: their types, encoding and decoding."""

import json
import math
import operator
import pathlib
from typing import Annotated, Any, Literal, TypedDict

import msgspec
from msgspec import UNSET, Meta, Struct

from nst_jax.images.io import file_sha256, is_complete_png

#: A count in 64 bits.
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Seconds = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Size = Annotated[list[Count], Meta(min_length=2, max_length=2)]

#: Statuses of members that have a result, finite or not.
FINISHED = ("done", "diverged")
#: Value of a field that the file does not hold.
ABSENT: Any = UNSET

Status = Literal["running", "done", "interrupted", "failed"]


class Row(TypedDict):
    """A line of metrics.jsonl: one member after one step."""

    member: Count
    seed: int
    stage: Count
    step: Count
    loss: float | None
    terms: dict[str, float | None]
    grad_norm: float | None
    step_length: float | None
    evaluations: Count
    failed_line_searches: Count
    rollbacks: Count
    seconds: Seconds


class GradientEntry(Struct):
    """Gradient norm of each part of the loss, and of the loss: see `part_gradients`."""

    start: dict[str, float | None]
    end: dict[str, float | None]


class MemberEntry(Struct, kw_only=True):
    """A member of a run; its result begins at the field `status`."""

    member: Count
    seed: int
    index: list[Count]
    label: str
    varies: dict[str, Any]
    group: Count
    content: Count
    styles: list[Count]
    layers: list[str]
    steps: list[Count]
    status: Literal["waiting", "done", "diverged"]
    loss: float | None = ABSENT
    evaluations: Count = ABSENT
    failed_line_searches: Count = ABSENT
    rollbacks: Count = ABSENT
    rows: Count = ABSENT
    sha256: str = ABSENT
    clipped: Fraction = ABSENT
    overflowed: Fraction = ABSENT
    faulty_terms: list[str] = ABSENT
    gradients: GradientEntry = ABSENT

    @property
    def grid_key(self) -> tuple[int, ...]:
        """Position in the grid and seed: the same in every part of a run."""
        return *self.index, self.seed

    @property
    def is_finished(self) -> bool:
        return self.status in FINISHED

    @property
    def has_result(self) -> bool:
        """True if the required fields of a result are known."""
        return UNSET not in (
            *(self.loss, self.evaluations, self.failed_line_searches),
            *(self.rollbacks, self.rows, self.sha256),
        )

    def with_result_of(self, entry: "MemberEntry") -> "MemberEntry":
        """Return this member with the status and result of another entry."""
        names = self.__struct_fields__[self.__struct_fields__.index("status") :]
        result = {name: getattr(entry, name) for name in names}
        return msgspec.structs.replace(self, **result)


class WarningEntry(Struct):
    """A fault, the members that have it, and a sentence with cause and remedy."""

    kind: str
    members: list[Count]
    text: str


class GroupEntry(Struct):
    """A group of members with its program, and its cost."""

    group: Count
    count: Count
    size: Size
    strategy: str
    convolution: str
    batch_size: Annotated[int, Meta(ge=1, le=2**20)] | None = None
    compile_s: Seconds = 0.0
    run_s: Seconds = 0.0
    member_steps: Count = 0


class InputEntry(Struct):
    """A file that the run has read, and the copy of the picture in it."""

    role: str
    path: str
    sha256: str
    size: Size | None
    picture: Annotated[str, Meta(pattern=r"^inputs/\d{3,}\.png$")] | None


class AxisEntry(Struct):
    """An axis of the grid and labels of its values."""

    field: str
    name: str
    labels: list[str]


class Call(Struct):
    """One call of the program."""

    command: str
    versions: dict[str, str]
    device: dict[str, Any]


class Timings(Struct):
    """Seconds of all calls; `step_s` is the mean of a member's step."""

    compile_s: Seconds = 0.0
    run_s: Seconds = 0.0
    step_s: Seconds = 0.0
    total_s: Seconds = 0.0


class _OutputFields(Struct):
    fps: Annotated[float, Meta(gt=0, le=240)]


class _ConfigFields(Struct):
    """The fields of a config that the report reads."""

    steps: Count
    terms: list[Any]
    output: _OutputFields


class _ManifestFields(Struct):
    config: _ConfigFields


class Manifest(Struct):
    """The content of run.json."""

    status: Status
    command: str
    versions: dict[str, str]
    device: dict[str, Any]
    config: dict[str, Any]
    numerics: dict[str, Any]
    inputs: list[InputEntry]
    axes: list[AxisEntry]
    members: list[MemberEntry]
    groups: list[GroupEntry]
    timings: Timings
    member_steps: Count
    earlier_calls: list[Call]
    warnings: list[WarningEntry] = []

    @property
    def numbers(self) -> dict[tuple[int, ...], int]:
        """Grid key -> number of a member."""
        return {entry.grid_key: entry.member for entry in self.members}

    @property
    def call(self) -> Call:
        return Call(self.command, self.versions, self.device)

    @property
    def final_status(self) -> Status:
        """ "done", or "failed" if all members have diverged."""
        statuses = {entry.status for entry in self.members}
        return "failed" if statuses == {"diverged"} else "done"


def encode(content: object, indent: int | None = None) -> str:
    """Return JSON; NaN and infinity become null, absent fields are left out."""
    return json.dumps(_to_builtins(content), indent=indent, allow_nan=False)


def _to_builtins(node: Any) -> Any:
    if isinstance(node, Struct):
        node = {k: v for k, v in msgspec.structs.asdict(node).items() if v is not UNSET}
    if isinstance(node, dict):
        return {key: _to_builtins(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_to_builtins(item) for item in node]
    return None if isinstance(node, float) and not math.isfinite(node) else node


def decode(text: str | bytes, schema: Any = Any) -> Any:
    """Return the content of a JSON text as an instance of `schema`.

    Raises:
      ValueError: it is not JSON, nested too deeply or not as in `schema`.
    """
    try:
        return msgspec.convert(json.loads(text, parse_constant=_refuse), schema)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def read_manifest(workdir: pathlib.Path) -> Manifest:
    """Return the content of a run directory's run.json.

    Raises:
      OSError: there is none, or it cannot be read.
      ValueError: it is not a run.json of this program.
    """
    manifest: Manifest = decode((workdir / "run.json").read_text(), Manifest)
    msgspec.convert({"config": manifest.config}, _ManifestFields)
    _check_numbers(manifest)
    return manifest


def _check_numbers(manifest: Manifest) -> None:
    """Raise ValueError for a number that refers to nothing, or a missing result."""
    lengths = [len(axis.labels) for axis in manifest.axes]
    input_count, member_count = len(manifest.inputs), len(manifest.members)
    for i, entry in enumerate(manifest.members):
        is_valid = {
            "member": entry.member == i,
            "index": len(entry.index) == len(lengths)
            and all(map(operator.lt, entry.index, lengths)),
            "group": entry.group < len(manifest.groups),
            "content": entry.content < input_count,
            "styles": all(number < input_count for number in entry.styles),
            "status": not entry.is_finished or entry.has_result,
        }
        for field, valid in is_valid.items():
            if not valid:
                raise ValueError(f"Invalid value - at `$.members[{i}].{field}`")
    for i, warning in enumerate(manifest.warnings):
        if any(number >= member_count for number in warning.members):
            raise ValueError(f"Invalid value - at `$.warnings[{i}].members`")


def is_intact(entry: MemberEntry, folder: pathlib.Path, rows: int) -> bool:
    """Return whether a finished member's files are as they were written.

    Args:
      entry: the member.
      folder: its folder.
      rows: number of its rows in metrics.jsonl.
    """
    if not entry.is_finished or rows != entry.rows:
        return False
    try:
        same = file_sha256(folder / "final.npy") == entry.sha256
        return same and is_complete_png(folder / "final.png")
    except OSError:
        return False
