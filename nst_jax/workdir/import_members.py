"""Copying members of another run directory into this one."""

import functools
import pathlib
import shutil
from collections.abc import Sequence

from nst_jax.core.atomic import write_atomically
from nst_jax.workdir.checkpoint import STATE
from nst_jax.workdir.metrics_log import MetricsLog, read_metrics
from nst_jax.workdir.schema import Manifest, Row, is_intact
from nst_jax.workdir.writer import RunWriter


def import_members(
    writer: RunWriter,
    members: Sequence[int],
    source: pathlib.Path,
    manifest: Manifest,
) -> list[int]:
    """Copy the finished members of another run directory into this one.

    Members that are finished here stay as they are. Only the current picture is copied
    of members that are not finished in the other run directory.

    Args:
      writer: the run directory to copy into.
      members: numbers here of the members of the other run, in its order.
      source: the other run directory.
      manifest: the content of its run.json.

    Returns:
      Numbers here of the finished members that were copied.
    """
    imported: dict[int, int] = {}
    metrics = MetricsLog(source / "metrics.jsonl")
    for number, entry in zip(members, manifest.members, strict=True):
        if writer.is_finished([number]):
            continue
        member_source = source / "members" / f"{entry.member:03d}"
        folder = writer.member_folder(number)
        intact = is_intact(entry, member_source, metrics.counts[entry.member])
        writer.workdir.stat()  # A deleted run directory is not created again.
        if intact:
            shutil.rmtree(folder, ignore_errors=True)
        for path in filter(pathlib.Path.is_file, member_source.rglob("[!.]*")):
            # A solver state is of a batch, whose members differ here.
            if path.name == "latest.png" or (intact and path.name != STATE):
                copy = functools.partial(shutil.copyfile, path)
                write_atomically(folder / path.relative_to(member_source), copy)
        if intact:
            result = writer.manifest.members[number].with_result_of(entry)
            writer.manifest.members[number] = result
            writer.write_json(folder / "member.json", result)
            imported[entry.member] = number
    writer.drop_metrics([*imported.values()])
    rows: list[Row] = [
        {**row, "member": imported[row["member"]]}
        for row in read_metrics(metrics.path)
        if row["member"] in imported
    ]
    writer.metrics.append(rows)
    writer.metrics.sync()
    writer.save()
    return [*imported.values()]
