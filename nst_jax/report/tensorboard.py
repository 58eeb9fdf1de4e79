"""A run for TensorBoard."""

import pathlib
import shutil

import numpy as np
from PIL import Image

from nst_jax.core.extras import require_extra
from nst_jax.images.io import composite_on_white
from nst_jax.report.run_directory import read_run


def write_tensorboard(workdir: str | pathlib.Path) -> None:
    """Writes `tensorboard/` into a run directory: a TensorBoard run a member.

    Scalars are the loss, each term, and the norm of the gradient; the picture is
    `final.png`, or `latest.png` of a member that is not finished. Earlier contents of
    the folder are replaced.

    Raises:
      RequestError: it is no run directory, or tensorboardX is not installed.
    """
    require_extra("tensorboard", "tensorboard")
    import tensorboardX

    run = read_run(workdir)
    folder = run.workdir / "tensorboard"
    shutil.rmtree(folder, ignore_errors=True)
    for member in run.members:
        name = f"{member.number:03d}"
        rows = run.rows.get(member.number, [])
        with tensorboardX.SummaryWriter(str(folder / name)) as writer:
            writer.add_text("member", member.label)
            for row in rows:
                values = {
                    "loss": row["loss"],
                    "grad_norm": row["grad_norm"],
                    **{f"terms/{term}": loss for term, loss in row["terms"].items()},
                }
                for tag, value in values.items():
                    if value is not None:
                        writer.add_scalar(tag, value, row["step"])
            if member.picture:
                with Image.open(member.picture) as image:
                    pixels = np.asarray(composite_on_white(image))
                step = rows[-1]["step"] if rows else 0
                writer.add_image(member.picture.stem, pixels, step, dataformats="HWC")
