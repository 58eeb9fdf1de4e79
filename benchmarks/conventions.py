"""Two tools' own loops, written again in PyTorch, against our presets of them.

    pip install -r benchmarks/requirements.txt
    python -m benchmarks.conventions --size=128 --steps=100

Theirs follows the tool: its preprocessing, its formulas as it writes them, and
torch.optim.LBFGS as it calls it. Ours is `nst_jax.preset`. Both have the bundled
weights, the same pictures and the same start. The last line of each tool is our
canvas in their formula, so that the losses are told apart from the solvers. The
goldens of tests/losses/test_conventions.py are the lines of step 0.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from absl import flags

import nst_jax
from benchmarks import script
from benchmarks.peer import CONTENT_LAYER, Features, convolutions
from benchmarks.peer import network as peer_network
from nst_jax.losses.style import STYLE_LAYERS
from nst_jax.models.preprocessing import CAFFE

_SIZE = flags.DEFINE_integer("size", 128, "The longer side in pixels.", lower_bound=32)
_STEPS = flags.DEFINE_integer("steps", 100, "Iterations of L-BFGS.", lower_bound=1)
_CONTENT = flags.DEFINE_string("content", "samples/chelsea.png", "Content picture.")
_STYLE = flags.DEFINE_string("style", "samples/swirls.jpg", "Style picture.")


def network(x: torch.Tensor) -> Features:
    """Return the taps of the bundled network, pooling as the presets do."""
    return peer_network(x, convolutions(), ceil_mode=False)


def gram(features: torch.Tensor) -> torch.Tensor:
    """FFᵀ over the number of elements, as both tools have it."""
    _, channels, height, width = features.shape
    flat = features.reshape(channels, height * width)
    return flat @ flat.T / (channels * height * width)


def johnson(x: torch.Tensor, content: Features, style: Features) -> torch.Tensor:
    """(content, style, variation) losses of a canvas.

    The tool has the gradient of the last, and leaves it out of the loss that it prints;
    its L-BFGS looks at gradients only.
    """
    mse = torch.nn.functional.mse_loss
    seen = network(x)
    content_loss = 5 * mse(seen[CONTENT_LAYER], content[CONTENT_LAYER])
    style_loss = sum(
        100 * mse(gram(seen[layer]), gram(style[layer])) for layer in STYLE_LAYERS
    )
    corner = x[..., :-1, :-1]
    right, below = corner - x[..., :-1, 1:], corner - x[..., 1:, :-1]
    variation = 1e-3 * ((right**2).sum() + (below**2).sum()) / 2
    return torch.stack([content_loss, torch.as_tensor(style_loss), variation])


def gordicaleksa(x: torch.Tensor, content: Features, style: Features) -> torch.Tensor:
    """(content, style, variation) losses of a canvas."""
    mse = torch.nn.functional.mse_loss
    seen = network(x)
    content_loss = mse(content[CONTENT_LAYER], seen[CONTENT_LAYER])
    style_loss = sum(
        mse(gram(style[layer]), gram(seen[layer]), reduction="sum")
        for layer in STYLE_LAYERS
    ) / len(STYLE_LAYERS)
    variation = (x[..., :-1] - x[..., 1:]).abs().sum()
    variation = variation + (x[..., :-1, :] - x[..., 1:, :]).abs().sum()
    losses = [1e5 * content_loss, 3e4 * torch.as_tensor(style_loss), variation]
    return torch.stack(losses)


@dataclasses.dataclass(frozen=True)
class Tool:
    """One tool: the value of white, its losses, its options of torch.optim.LBFGS."""

    white: int
    losses: Callable[[torch.Tensor, Features, Features], torch.Tensor]
    options: dict


TOOLS = {
    "johnson": Tool(256, johnson, {"tolerance_grad": -1, "tolerance_change": -1}),
    "gordicaleksa": Tool(255, gordicaleksa, {"line_search_fn": "strong_wolfe"}),
}


class Theirs:
    """A tool's loop on a content and a style picture [H, W, 3]."""

    def __init__(self, tool: Tool, content: np.ndarray, style: np.ndarray):
        self.tool = tool
        with torch.no_grad():
            self.content = network(self.tensor(content))
            self.style = network(self.tensor(style))

    def tensor(self, image: np.ndarray) -> torch.Tensor:
        """[1, 3, H, W], BGR, less the mean."""
        mean = np.asarray(CAFFE.mean, np.float32)
        bgr = image[..., ::-1] * np.float32(self.tool.white) - mean
        return torch.from_numpy(np.ascontiguousarray(bgr.transpose(2, 0, 1)))[None]

    def losses(self, x: torch.Tensor) -> torch.Tensor:
        return self.tool.losses(x, self.content, self.style)

    def optimised(self, start: np.ndarray, steps: int) -> tuple[torch.Tensor, int]:
        """The canvas after some iterations, and the evaluations they took."""
        x = self.tensor(start).requires_grad_()
        solver = torch.optim.LBFGS(
            [x], max_iter=steps, history_size=100, **self.tool.options
        )
        evaluations = 0

        def closure() -> torch.Tensor:
            nonlocal evaluations
            evaluations += 1
            solver.zero_grad()
            loss = self.losses(x).sum()
            loss.backward()
            return loss

        solver.step(closure)
        return x.detach(), evaluations


def row(name: str, losses: np.ndarray, evaluations: int | str = "") -> str:
    content, style, variation = losses
    ratio = f"{content / style:.4g}" if content else "0"
    return (
        f"| {name} | {content:.5g} | {style:.5g} | {variation:.5g} "
        f"| {losses.sum():.5g} | {ratio} | {evaluations} |"
    )


def compare(name: str, size: int, steps: int) -> None:
    (group,) = nst_jax.build(
        nst_jax.preset(
            name,
            content=_CONTENT.value,
            styles=(_STYLE.value,),
            size=size,
            steps=steps,
        )
    ).groups
    starts = group.starts([0])
    theirs = Theirs(TOOLS[name], group.content, group.styles[0])
    result = nst_jax.run(group.problems(), starts, steps=steps, look_every=steps)
    first, last = (
        np.array(
            [
                sum(
                    float(value[0])
                    for key, value in report.parts.items()
                    if kind in key
                )
                for kind in ("content", "style", "variation")
            ]
        )
        for report in (result.history[0], result.history[-1])
    )

    def at(x: torch.Tensor) -> np.ndarray:
        with torch.no_grad():
            return theirs.losses(x).numpy()

    end, evaluations = theirs.optimised(starts[0], steps)
    print(row(f"{name}, step 0, theirs", at(theirs.tensor(starts[0]))))
    print(row(f"{name}, step 0, ours", first))
    print(row(f"{name}, step {steps}, theirs", at(end), evaluations))
    ours = int(result.history[-1].evaluations[0])
    print(row(f"{name}, step {steps}, ours", last, ours))
    print(row("the same by their formula", at(theirs.tensor(result.canvas[0]))))


def main() -> None:
    print("| | content | style | variation | loss | content : style | evaluations |")
    print("|---|---|---|---|---|---|---|")
    for name in TOOLS:
        compare(name, _SIZE.value, _STEPS.value)


if __name__ == "__main__":
    script.run(main)
