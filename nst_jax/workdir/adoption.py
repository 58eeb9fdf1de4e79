"""Members of another run directory, taken into this one."""

import functools
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

from nst_jax.core.atomic import write_atomically
from nst_jax.workdir.checkpoint import STATE
from nst_jax.workdir.metrics_log import Metrics, read_metrics
from nst_jax.workdir.schema import is_whole
from nst_jax.workdir.writer import Records


def adopt(
    records: Records,
    members: Sequence[int],
    workdir: pathlib.Path,
    other: dict[str, Any],
) -> list[int]:
    """Take the finished members of another run directory for members of this one.

    Members that are finished here already stay as they are. Of members that are not
    finished there, the current picture is taken.

    Args:
      records: this run directory.
      members: what the other's members are here, in their order.
      workdir: the other run directory.
      other: what its run.json holds.

    Returns:
      Numbers of the members that were taken.
    """
    adopted: dict[int, int] = {}
    theirs = Metrics(workdir / "metrics.jsonl")
    for number, entry in zip(members, other["members"], strict=True):
        if records.finished([number]):
            continue
        source = workdir / "members" / f"{entry['member']:03d}"
        folder = records.member_dir(number)
        whole = is_whole(entry, source, theirs.counts[entry["member"]])
        records.workdir.stat()  # Or half of a folder that is gone would be made anew.
        if whole:
            shutil.rmtree(folder, ignore_errors=True)
        for path in filter(pathlib.Path.is_file, source.rglob("[!.]*")):
            # A state is that of a batch, which has other members here.
            if path.name == "latest.png" or (whole and path.name != STATE):
                copy = functools.partial(shutil.copyfile, path)
                write_atomically(folder / path.relative_to(source), copy)
        if not whole:
            continue
        ours = records.manifest["members"][number]
        ended = {k: v for k, v in entry.items() if k not in ours or k == "status"}
        records.manifest["members"][number] = ours | ended
        records.write_json(folder / "member.json", records.manifest["members"][number])
        adopted[entry["member"]] = number
    records.drop_metrics([*adopted.values()])  # Of a try that was not finished here.
    records.metrics.add(
        row | {"member": adopted[row["member"]]}
        for row in read_metrics(theirs.path)
        if row["member"] in adopted
    )
    records.metrics.sync()
    records.save()
    return [*adopted.values()]
