"""The whole report of a run, and its export to TensorBoard."""

import pathlib
import shutil

import numpy as np
from absl import logging
from PIL import Image

from nst_jax.core.atomic import write_atomically
from nst_jax.core.extras import MissingExtraError, require_extra
from nst_jax.images.io import composite_on_white
from nst_jax.report.curves import loss_plot
from nst_jax.report.page import remove_page, write_page
from nst_jax.report.plots import write_figure
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
    write_figure(run.workdir / "curves.svg", loss_plot(run), markers=False)
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


def write_tensorboard(workdir: str | pathlib.Path) -> None:
    """Replace `tensorboard/` in a run directory by one TensorBoard run per member.

    Scalars are the loss, its terms and the gradient norm. The image is `final.png`, or
    `latest.png` of an unfinished member.

    Raises:
      RequestError: the folder is no run directory, or tensorboardX is not installed.
    """
    require_extra("tensorboard", "tensorboard")
    import tensorboardX

    run = read_run(workdir)
    folder = run.workdir / "tensorboard"
    shutil.rmtree(folder, ignore_errors=True)
    for member in run.members:
        rows = run.rows.get(member.number, [])
        path = str(folder / f"{member.number:03d}")
        with tensorboardX.SummaryWriter(path) as writer:
            writer.add_text("member", member.label)
            for row in rows:
                scalars = {"loss": row["loss"], "grad_norm": row["grad_norm"]}
                scalars |= {f"terms/{term}": x for term, x in row["terms"].items()}
                for tag, value in scalars.items():
                    if value is not None:
                        writer.add_scalar(tag, value, row["step"])
            if member.picture:
                with Image.open(member.picture) as image:
                    pixels = np.asarray(composite_on_white(image))
                step = rows[-1]["step"] if rows else 0
                writer.add_image(member.picture.stem, pixels, step, dataformats="HWC")
