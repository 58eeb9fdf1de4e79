"""The whole report of a run, made from its directory."""

import pathlib

from absl import logging

from nst_jax.core.atomic import write_atomically
from nst_jax.core.extras import MissingExtraError, require_extra
from nst_jax.report.curves import write_curves
from nst_jax.report.page import remove_page, write_page
from nst_jax.report.run_directory import read_run
from nst_jax.report.sheet import run_sheet
from nst_jax.report.study_results import write_study
from nst_jax.report.video import write_gif, write_mp4


def write_report(workdir: str | pathlib.Path) -> None:
    """Write the report into a run directory; the run need not be finished.

        report.html                     self-contained page
        sheet.png                       contact sheet of the members
        curves.svg                      loss curves for print
        study.json, study/              results of the studies
        members/000/making_of.mp4       for each member with two or more snapshots
        members/000/making_of.gif       for the first such member

    Raises:
      RequestError: the folder is no run directory, or a package of the `report` extra
        is missing.
    """
    require_extra("report", "the report")
    run = read_run(workdir)
    if sheet := run_sheet(run):
        write_atomically(run.workdir / "sheet.png", sheet.save)
    filmed = [member for member in run.members if len(member.frames) > 1]
    for member in filmed:
        write_mp4(member.film, member.frames, run.fps)
    for member in filmed[:1]:
        write_gif(member.film.with_suffix(".gif"), member.frames, run.fps)
    write_curves(run.workdir / "curves.svg", run)
    write_study(run)
    write_page(run)


def write_safely(workdir: str | pathlib.Path, *, page_only: bool = False) -> None:
    """Write the report, or log an error and remove the outdated page.

    Without the `report` extra, log once per process how to install it.
    """
    try:
        if page_only:
            write_page(read_run(workdir))
        else:
            write_report(workdir)
    except MissingExtraError as error:
        logging.log_first_n(
            logging.WARNING, "%s, and --report=%s writes it then", 1, error, workdir
        )
    except Exception as error:
        remove_page(workdir)
        logging.error(
            "the report could not be written (%s: %s); --report=%s tries once more",
            *(type(error).__name__, error, workdir),
        )
