"""Makes README's pictures from run directories.

    python launch.py --config=configs/transfer.py --workdir=runs/transfer
    python tools/make_gallery.py runs/transfer

A run of one member becomes a strip of content, style and result, a run of several its
contact sheet; the file is named like the folder, in docs/images/.
"""

import argparse
import json
import pathlib
import sys

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # The project need not be installed.

import nst_jax  # noqa: E402
from nst_jax.image import to_bytes  # noqa: E402


def strip(workdir: pathlib.Path, height: int = 256) -> Image.Image:
    """The pictures that a run of one member was given, and the one it made."""
    run = json.loads((workdir / "run.json").read_text())
    config = run["config"]
    pictures = [
        nst_jax.read_image(path) for path in (config["content"], *config["styles"])
    ]
    pictures.append(np.load(workdir / "members" / "000" / "final.npy"))
    images = []
    for picture in pictures:
        image = Image.fromarray(to_bytes(picture))
        width = round(image.width * height / image.height)
        images.append(image.resize((width, height), Image.Resampling.LANCZOS))
    gap = 6
    total = sum(image.width + gap for image in images) - gap
    canvas = Image.new("RGB", (total, height), "white")
    left = 0
    for image in images:
        canvas.paste(image, (left, 0))
        left += image.width + gap
    return canvas


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workdirs", nargs="+", type=pathlib.Path)
    folder = ROOT / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    for workdir in parser.parse_args().workdirs:
        single = len(list((workdir / "members").iterdir())) == 1
        image = strip(workdir) if single else Image.open(workdir / "sheet.png")
        image.convert("RGB").save(folder / f"{workdir.name}.jpg", quality=90)


if __name__ == "__main__":
    main()
