"""Rank results for one content and one style by the score of `nst_jax.metrics.quality`.

    python -m benchmarks.rank --content=photo.jpg --style=painting.jpg --pictures=FOLDER

Every PNG or JPEG file of the folder is measured at the size of the content; the content
itself is listed for comparison. A lower score is better.
"""

import math
import pathlib

import jax
import numpy as np
from absl import flags

import nst_jax
from benchmarks import script
from benchmarks.table import Table
from nst_jax.metrics.quality import Comparison

#: Endings of the files that are measured.
SUFFIXES = (".png", ".jpg")

_SIZE = script.size_flag(256)
_CONTENT = flags.DEFINE_string("content", "samples/chelsea.png", "Content image.")
_STYLE = flags.DEFINE_string("style", "samples/swirls.jpg", "Style image.")
_PICTURES = flags.DEFINE_string("pictures", None, "Folder of pictures.", required=True)


def main() -> None:
    measured = measure_folder(
        _CONTENT.value, _STYLE.value, pathlib.Path(_PICTURES.value), _SIZE.value
    )
    ranked = sorted(measured, key=lambda name: measured[name]["score"])
    columns = ("picture", *measured["content"])
    rows: list[tuple[str | float, ...]] = [
        (name, *measured[name].values()) for name in ranked
    ]
    title = f"Results for {_CONTENT.value} and {_STYLE.value}, best first"
    Table("rank", title, columns, rows).publish()


def measure_folder(
    content_path: str, style_path: str, folder: pathlib.Path, size: int
) -> dict[str, dict[str, float]]:
    """Return the score and the measures of the content and of each picture by name.

    Raises:
      RequestError: the folder has no picture.
    """
    files = sorted(file for file in folder.glob("*") if file.suffix in SUFFIXES)
    if not files:
        raise nst_jax.RequestError(
            f"--pictures must be a folder with PNG or JPEG files, got {str(folder)!r}"
        )
    content, style = (
        nst_jax.read_image(path, size) for path in (content_path, style_path)
    )
    comparison = Comparison(content, (style,), nst_jax.load_network())
    pictures = {"content": content} | {
        file.stem: nst_jax.read_image(file) for file in files
    }
    measured: dict[str, dict[str, float]] = {}
    for name, picture in pictures.items():
        if picture.shape != content.shape:
            picture = np.asarray(jax.image.resize(picture, content.shape, "lanczos3"))
        measures = comparison.measure(picture)
        score = comparison.score(measures)
        measured[name] = {"score": math.nan if score is None else score} | measures
    return measured


if __name__ == "__main__":
    script.run(main)
