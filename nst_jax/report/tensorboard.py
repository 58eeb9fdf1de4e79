"""Export of a run to TensorBoard."""

import pathlib
import shutil

import numpy as np
from PIL import Image

from nst_jax.core.extras import require_extra
from nst_jax.images.io import composite_on_white
from nst_jax.report.run_directory import read_run


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
