"""Loss of the package pastiche on two images, at the start and after some steps.

    pip install -r benchmarks/requirements.txt
    python -m benchmarks.pastiche_loss --content=samples/chelsea.png \
        --style=samples/swirls.jpg --size=256 --steps=150

Images are first resized by Pillow's bilinear filter, as in configs/pastiche.py. The
figures are comparable to `loss` in that config's metrics.jsonl. The goldens of
tests/losses/test_pastiche.py are the first line.
"""

import pathlib
import tempfile
import time

from absl import flags
from pastiche import pastiche

from benchmarks import script
from benchmarks.evaluation import write_resized

_CONTENT = flags.DEFINE_string("content", "samples/chelsea.png", "Content image.")
_STYLE = flags.DEFINE_string("style", "samples/swirls.jpg", "Style image.")
_SIZE = script.size_flag(256)
_STEPS = script.count_flag("steps", 0, "Steps of pastiche's L-BFGS.", least=0)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths, style_size = write_resized(
            (_CONTENT.value, _STYLE.value), _SIZE.value, pathlib.Path(folder)
        )
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
