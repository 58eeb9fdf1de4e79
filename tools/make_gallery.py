"""Make the pictures of README and docs from run directories.

    python launch.py --config=configs/transfer.py --workdir=runs/transfer
    python tools/make_gallery.py runs/transfer

A run of several members becomes its contact sheet. A run of one member becomes a strip
of content, style and result, or of some frames if they were kept. The file in
docs/images/ has the name of the folder.
"""

import argparse
import pathlib
import sys

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # The project need not be installed.

from nst_jax.report import RunDirectory, read_run  # noqa: E402

HEIGHT, WIDTH, GAP, FRAMES = 256, 960, 6, 6


def strip(paths: list[pathlib.Path]) -> Image.Image:
    """Join images of one height side by side."""
    images = []
    for path in paths:
        with Image.open(path) as file:
            size = round(file.width * HEIGHT / file.height), HEIGHT
            images.append(file.convert("RGB").resize(size, Image.Resampling.LANCZOS))
    total = sum(image.width + GAP for image in images) - GAP
    whole = Image.new("RGB", (total, HEIGHT), "white")
    left = 0
    for image in images:
        whole.paste(image, (left, 0))
        left += image.width + GAP
    return whole


def overview(run: RunDirectory) -> Image.Image:
    """Return the picture of a run."""
    if len(run.members) > 1:
        return Image.open(run.workdir / "sheet.png")
    (member,) = run.members
    if frames := member.frames:
        count = min(len(frames), FRAMES)
        chosen = np.geomspace(1, len(frames), count).round().astype(int) - 1
        return strip([frames[i] for i in sorted(set(chosen))])
    inputs = [run.workdir / i.picture for i in run.manifest.inputs if i.picture]
    assert member.picture
    return strip([*inputs, member.picture])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workdirs", nargs="+", type=pathlib.Path)
    folder = ROOT / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    for workdir in parser.parse_args().workdirs:
        picture = overview(read_run(workdir)).convert("RGB")
        picture.thumbnail((WIDTH, 2 * WIDTH), Image.Resampling.LANCZOS)
        picture.save(folder / f"{workdir.name}.jpg", quality=88)


if __name__ == "__main__":
    main()
