"""Makes README's pictures from run directories.

    python launch.py --config=configs/transfer.py --workdir=runs/transfer
    python tools/make_gallery.py runs/transfer

A run of several members becomes its contact sheet, a run of one a strip: content, style
and result, or, where pictures were kept on the way, some of those. The file is named
like the folder, in docs/images/.
"""

import argparse
import pathlib
import sys

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # The project need not be installed.

from nst_jax.report import RunDirectory, read_run  # noqa: E402

HEIGHT, WIDTH, GAP, STATIONS = 256, 960, 6, 6


def strip(paths: list[pathlib.Path]) -> Image.Image:
    """Pictures of one height, side by side."""
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


def shown(run: RunDirectory) -> Image.Image:
    """What stands for a run."""
    (member, *others) = run.members
    if others:
        return Image.open(run.workdir / "sheet.png")
    if frames := member.frames:
        count = min(len(frames), STATIONS)
        chosen = np.geomspace(1, len(frames), count).round().astype(int) - 1
        return strip([frames[i] for i in sorted(set(chosen))])
    inputs = [
        run.workdir / i["picture"] for i in run.manifest["inputs"] if i["picture"]
    ]
    assert member.picture
    return strip([*inputs, member.picture])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workdirs", nargs="+", type=pathlib.Path)
    folder = ROOT / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    for workdir in parser.parse_args().workdirs:
        picture = shown(read_run(workdir)).convert("RGB")
        picture.thumbnail((WIDTH, 2 * WIDTH), Image.Resampling.LANCZOS)
        picture.save(folder / f"{workdir.name}.jpg", quality=88)


if __name__ == "__main__":
    main()
