"""All that a person looks at, made from a run directory alone."""

import pathlib

from nst_jax.core.atomic import write_atomically
from nst_jax.core.extras import require_extra
from nst_jax.report.curves import write_curves
from nst_jax.report.page import write_page
from nst_jax.report.run_directory import read_run
from nst_jax.report.sheet import run_sheet
from nst_jax.report.study_results import write_study
from nst_jax.report.video import write_gif, write_mp4


def write_report(workdir: str | pathlib.Path) -> None:
    """Writes what is to be looked at into a run directory.

        report.html                     one self-contained page
        sheet.png                       the members along their axes
        curves.svg                      the loss, for print
        study.json, study/              what the run shows, in numbers
        members/000/making_of.mp4       of each member with two frames or more
        members/000/making_of.gif       of the first such member

    The run need not be finished: what is not there yet is left out.

    Raises:
      RequestError: it is no run directory, or the `report` extra is not installed.
    """
    require_extra("report", "the report")
    run = read_run(workdir)
    sheet = run_sheet(run)
    if sheet:
        write_atomically(run.workdir / "sheet.png", sheet.save)
    filmed = [member for member in run.members if len(member.frames) > 1]
    for member in filmed:
        write_mp4(member.film, member.frames, run.fps)
    for member in filmed[:1]:
        write_gif(member.film.with_suffix(".gif"), member.frames, run.fps)
    write_curves(run.workdir / "curves.svg", run)
    write_study(run)
    write_page(run)
