"""Small experiments, their runs, and readers of run directories."""

import json

import jax
import numpy as np

import nst_jax
from nst_jax.workdir.metrics_log import read_metrics


def small_experiment(**fields) -> nst_jax.Experiment:
    """Return an experiment on small pictures, with the network cut at relu2_1."""
    return nst_jax.Experiment(
        **{
            "content": "samples/chelsea.png",
            "styles": ("samples/swirls.jpg",),
            "terms": (
                nst_jax.Content(layers=("relu2_1",)),
                nst_jax.Gram(layers=("relu1_1", "relu2_1")),
            ),
            "size": 24,
            "steps": 2,
            "solver": nst_jax.SolverOptions("adam"),
            **fields,
        }
    )


def eight_members(**fields) -> nst_jax.Experiment:
    """Return an experiment with eight members of one program, started from noise."""
    weights = nst_jax.Vary("terms.style.weight", (1.0, 2.0, 4.0, 8.0))
    experiment = small_experiment(
        axes=(weights,),
        seeds=(0, 1),
        steps=6,
        canvas=nst_jax.Canvas("noise"),
        **fields,
    )
    experiment.output.log_every = 2
    return experiment


def run_experiment(experiment, workdir, **options):
    """Build and execute an experiment; return its status."""
    return nst_jax.execute(nst_jax.build(experiment), workdir, **options)


def write_placeholder(path, *_, **options):
    """Write an empty image in place of `write_figure`."""
    path.write_text("<svg/>")


def stop_after(count):
    """Return a `stop` callback that is true from call number `count` on."""
    calls = iter(range(10**6))
    return lambda: next(calls) >= count


def limit_batch_memory(monkeypatch, batch_size):
    """Let every batch larger than `batch_size` run out of memory."""
    optimise = nst_jax.Ensemble.optimise

    def limited(self, *args, **options):
        for step in optimise(self, *args, **options):
            yield step
            if self.batch_size > batch_size:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    monkeypatch.setattr(nst_jax.Ensemble, "optimise", limited)


def read_manifest(workdir):
    """Return run.json."""
    return json.loads((workdir / "run.json").read_text())


def metric_rows(workdir):
    """Return the sorted (member, step, loss) of metrics.jsonl."""
    return sorted(
        (row["member"], row["step"], row["loss"])
        for row in read_metrics(workdir / "metrics.jsonl")
    )


def final_arrays(workdir):
    """Return the results of eight members, float32 [H, W, 3] each."""
    return [np.load(workdir / f"members/{m:03d}/final.npy") for m in range(8)]
