"""Loops of two tools, rewritten in PyTorch, compared with our presets.

    pip install -r benchmarks/requirements.txt
    python -m benchmarks.conventions --size=128 --steps=100

"Theirs" follows the tool: its preprocessing, its formulas and its call of
torch.optim.LBFGS. "Ours" is `nst_jax.preset`. Both use the bundled weights, the same
images and the same start. The last line of each tool evaluates our canvas by their
formula, which separates losses from solvers. The goldens of
tests/losses/test_conventions.py are the lines of step 0.
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
from nst_jax.optim.solvers import Report

_SIZE = script.size_flag(128)
_STEPS = script.count_flag("steps", 100, "Iterations of L-BFGS.")
_CONTENT = flags.DEFINE_string("content", "samples/chelsea.png", "Content image.")
_STYLE = flags.DEFINE_string("style", "samples/swirls.jpg", "Style image.")


def network(x: torch.Tensor) -> Features:
    """Return the taps of the bundled network, pooling as the presets do."""
    return peer_network(x, convolutions(), ceil_mode=False)


def gram(features: torch.Tensor) -> torch.Tensor:
    """Return FFᵀ divided by the number of elements, as in both tools."""
    _, channels, height, width = features.shape
    flat = features.reshape(channels, height * width)
    return flat @ flat.T / (channels * height * width)


def johnson(x: torch.Tensor, content: Features, style: Features) -> torch.Tensor:
    """Return the (content, style, variation) losses of a canvas.

    The tool applies the gradient of the variation but omits it from the printed loss.
    Its L-BFGS uses gradients only.
    """
    mse = torch.nn.functional.mse_loss
    taps = network(x)
    content_loss = 5 * mse(taps[CONTENT_LAYER], content[CONTENT_LAYER])
    style_loss = sum(
        100 * mse(gram(taps[layer]), gram(style[layer])) for layer in STYLE_LAYERS
    )
    corner = x[..., :-1, :-1]
    right, below = corner - x[..., :-1, 1:], corner - x[..., 1:, :-1]
    variation = 1e-3 * ((right**2).sum() + (below**2).sum()) / 2
    return torch.stack([content_loss, torch.as_tensor(style_loss), variation])


def gordicaleksa(x: torch.Tensor, content: Features, style: Features) -> torch.Tensor:
    """Return the (content, style, variation) losses of a canvas."""
    mse = torch.nn.functional.mse_loss
    taps = network(x)
    content_loss = mse(content[CONTENT_LAYER], taps[CONTENT_LAYER])
    style_loss = sum(
        mse(gram(style[layer]), gram(taps[layer]), reduction="sum")
        for layer in STYLE_LAYERS
    ) / len(STYLE_LAYERS)
    variation = (x[..., :-1] - x[..., 1:]).abs().sum()
    variation = variation + (x[..., :-1, :] - x[..., 1:, :]).abs().sum()
    losses = [1e5 * content_loss, 3e4 * torch.as_tensor(style_loss), variation]
    return torch.stack(losses)


@dataclasses.dataclass(frozen=True)
class Tool:
    """A tool's value of white, its losses, and its options of torch.optim.LBFGS."""

    white: int
    losses: Callable[[torch.Tensor, Features, Features], torch.Tensor]
    options: dict


TOOLS = {
    "johnson": Tool(256, johnson, {"tolerance_grad": -1, "tolerance_change": -1}),
    "gordicaleksa": Tool(255, gordicaleksa, {"line_search_fn": "strong_wolfe"}),
}


class ToolLoop:
    """A tool's loop on a content and a style image [H, W, 3]."""

    def __init__(self, tool: Tool, content: np.ndarray, style: np.ndarray):
        self.tool = tool
        with torch.no_grad():
            self.content = network(self.tensor(content))
            self.style = network(self.tensor(style))

    def tensor(self, image: np.ndarray) -> torch.Tensor:
        """Return an image as [1, 3, H, W] in BGR, minus the mean."""
        mean = np.asarray(CAFFE.mean, np.float32)
        bgr = image[..., ::-1] * np.float32(self.tool.white) - mean
        return torch.from_numpy(np.ascontiguousarray(bgr.transpose(2, 0, 1)))[None]

    def losses(self, x: torch.Tensor) -> torch.Tensor:
        return self.tool.losses(x, self.content, self.style)

    def optimise(self, start: np.ndarray, steps: int) -> tuple[torch.Tensor, int]:
        """Return the canvas after some iterations, and the number of evaluations."""
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


def format_row(name: str, losses: np.ndarray, evaluations: int | str = "") -> str:
    content, style, variation = losses
    ratio = f"{content / style:.4g}" if content else "0"
    return (
        f"| {name} | {content:.5g} | {style:.5g} | {variation:.5g} "
        f"| {losses.sum():.5g} | {ratio} | {evaluations} |"
    )


def compare(name: str, size: int, steps: int) -> None:
    content, styles = _CONTENT.value, (_STYLE.value,)
    experiment = nst_jax.preset(
        name, content=content, styles=styles, size=size, steps=steps
    )
    (group,) = nst_jax.build(experiment).groups
    starts = group.starting_images([0])
    theirs = ToolLoop(TOOLS[name], group.content, group.styles[0])
    result = nst_jax.run(group.problems(), starts, steps=steps, log_every=steps)

    def our_losses(report: Report) -> np.ndarray:
        kinds = "content", "style", "variation"
        parts = report.parts.items()
        return np.array(
            [
                sum(float(value[0]) for name, value in parts if kind in name)
                for kind in kinds
            ]
        )

    def their_losses(x: torch.Tensor) -> np.ndarray:
        with torch.no_grad():
            return theirs.losses(x).numpy()

    end, evaluations = theirs.optimise(starts[0], steps)
    first, last = result.history[0], result.history[-1]
    ours = int(last.evaluations[0])
    for label, losses, count in (
        (f"{name}, step 0, theirs", their_losses(theirs.tensor(starts[0])), ""),
        (f"{name}, step 0, ours", our_losses(first), ""),
        (f"{name}, step {steps}, theirs", their_losses(end), evaluations),
        (f"{name}, step {steps}, ours", our_losses(last), ours),
        ("ours by their formula", their_losses(theirs.tensor(result.canvas[0])), ""),
    ):
        print(format_row(label, losses, count))


def main() -> None:
    print("| | content | style | variation | loss | content : style | evaluations |")
    print("|---|---|---|---|---|---|---|")
    for name in TOOLS:
        compare(name, _SIZE.value, _STEPS.value)


if __name__ == "__main__":
    script.run(main)
