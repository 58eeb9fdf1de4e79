"""run.json: what it holds, and how one that anybody may have written is read."""

import pathlib
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
from msgspec import Meta

from nst_jax.images.io import file_sha256, is_complete_png
from nst_jax.workdir.metrics_log import Count
from nst_jax.workdir.strict_json import from_json

Seconds = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Size = Annotated[list[Count], Meta(min_length=2, max_length=2)]

#: How a member ends: with numbers, or with what is none.
FINISHED = ("done", "diverged")
_ENDED = {
    *("loss", "evaluations", "failed_line_searches", "rollbacks", "rows", "sha256"),
}


class MemberEntry(TypedDict):
    """A member: who it is, and how it ended once it has."""

    member: Count
    seed: int
    index: list[Count]
    label: str
    varies: dict[str, Any]
    group: Count
    content: Count
    styles: list[Count]
    layers: list[str]
    steps: NotRequired[list[Count]]
    status: Literal["waiting", "done", "diverged"]
    loss: NotRequired[float | None]
    evaluations: NotRequired[Count]
    failed_line_searches: NotRequired[Count]
    rollbacks: NotRequired[Count]
    rows: NotRequired[Count]
    sha256: NotRequired[str]
    faulty_terms: NotRequired[list[str]]
    overflowed: NotRequired[Share]
    clipped: NotRequired[Share]


class WarningEntry(TypedDict):
    """One kind of fault: its members' numbers, and a sentence with cause and remedy."""

    kind: str
    members: list[Count]
    text: str


class GroupEntry(TypedDict):
    """A group: its program, and what it has cost."""

    group: Count
    count: Count
    size: Size
    strategy: str
    convolution: NotRequired[str]
    batch_size: Annotated[int, Meta(ge=1, le=2**20)] | None
    compile_s: Seconds
    run_s: Seconds
    member_steps: Count


class InputEntry(TypedDict):
    """A file that was read, and the copy of it that was kept."""

    role: str
    path: str
    sha256: str
    size: Size | None
    picture: Annotated[str, Meta(pattern=r"^inputs/\d{3,}\.png$")] | None


class AxisEntry(TypedDict):
    """What varies: the field, and its values in words."""

    field: str
    name: str
    labels: list[str]


class Call(TypedDict):
    """One call of the program."""

    command: str
    versions: dict[str, str]
    device: dict[str, Any]


class Timings(TypedDict):
    """Seconds of all calls."""

    compile_s: Seconds
    run_s: Seconds
    step_s: Seconds
    total_s: Seconds


class Output(TypedDict):
    """What the page asks of a config's output."""

    fps: Annotated[float, Meta(gt=0, le=240)]


class Config(TypedDict):
    """What is asked of a config by others than the run itself."""

    steps: Count
    terms: list[Any]
    output: Output


class Manifest(Call):
    """All of it."""

    status: Literal["running", "done", "interrupted", "failed"]
    config: Config
    numerics: dict[str, Any]
    inputs: list[InputEntry]
    axes: list[AxisEntry]
    members: list[MemberEntry]
    groups: list[GroupEntry]
    timings: Timings
    member_steps: Count
    earlier_calls: list[Call]
    warnings: NotRequired[list[WarningEntry]]


def read_manifest(workdir: pathlib.Path) -> dict[str, Any]:
    """What a run directory's run.json holds.

    Raises:
      OSError: there is none, or it cannot be read.
      ValueError: it is not as this program writes it.
    """
    manifest = from_json((workdir / "run.json").read_text())
    msgspec.convert(manifest, Manifest)
    _check_numbers(manifest)
    return manifest


def _check_numbers(manifest: dict[str, Any]) -> None:
    """Raises ValueError for a number in it that is of nothing."""
    labels = [len(axis["labels"]) for axis in manifest["axes"]]
    inputs, groups = len(manifest["inputs"]), len(manifest["groups"])
    for i, entry in enumerate(manifest["members"]):
        where = f"$.members[{i}]"
        if entry["member"] != i:
            raise ValueError(f"Expected {i} - at `{where}.member`")
        places = zip(entry["index"], labels, strict=False)
        if len(entry["index"]) != len(labels) or any(a >= b for a, b in places):
            raise ValueError(f"Expected a place along the axes - at `{where}.index`")
        if entry["group"] >= groups:
            raise ValueError(f"Expected the number of a group - at `{where}.group`")
        if any(number >= inputs for number in (entry["content"], *entry["styles"])):
            raise ValueError(f"Expected numbers of inputs - at `{where}`")
        if entry["status"] in FINISHED and not entry.keys() >= _ENDED:
            raise ValueError(f"Expected how it ended - at `{where}`")
    count = len(manifest["members"])
    for i, warning in enumerate(manifest.get("warnings", [])):
        if any(number >= count for number in warning["members"]):
            where = f"$.warnings[{i}].members"
            raise ValueError(f"Expected numbers of members - at `{where}`")


def is_whole(entry: dict[str, Any], folder: pathlib.Path, rows: int) -> bool:
    """Return whether a member's results are on disk as they were written.

    Args:
      entry: of it, as in run.json.
      folder: its own.
      rows: how many it has in metrics.jsonl.
    """
    if entry["status"] not in FINISHED or rows != entry["rows"]:
        return False
    try:
        same = file_sha256(folder / "final.npy") == entry["sha256"]
        return same and is_complete_png(folder / "final.png")
    except OSError:
        return False
