"""Neural style transfer by optimisation, many at a time.

A picture is float32 [H, W, 3], sRGB in [0, 1].
"""

from nst_jax.config.axes import Contents as Contents
from nst_jax.config.axes import Frames as Frames
from nst_jax.config.axes import Seeds as Seeds
from nst_jax.config.axes import Vary as Vary
from nst_jax.config.experiment import Experiment as Experiment
from nst_jax.config.ladder import Ladder as Ladder
from nst_jax.config.options import EnsembleOptions as EnsembleOptions
from nst_jax.config.options import Masks as Masks
from nst_jax.config.options import OutputOptions as OutputOptions
from nst_jax.config.options import Smoothing as Smoothing
from nst_jax.config.options import SolverOptions as SolverOptions
from nst_jax.config.presets import PRESETS as PRESETS
from nst_jax.config.presets import preset as preset
from nst_jax.config.variant import variant as variant
from nst_jax.core.errors import RequestError as RequestError
from nst_jax.ensemble.ensemble import Ensemble as Ensemble
from nst_jax.ensemble.result import run as run
from nst_jax.images.initialise import Canvas as Canvas
from nst_jax.images.initialise import starting_canvas as starting_canvas
from nst_jax.images.io import read_image as read_image
from nst_jax.images.io import write_image as write_image
from nst_jax.images.video import Film as Film
from nst_jax.launch.runner import execute as execute
from nst_jax.losses import Content as Content
from nst_jax.losses import Gram as Gram
from nst_jax.losses import LayerTerm as LayerTerm
from nst_jax.losses import Objective as Objective
from nst_jax.losses import StyleTerm as StyleTerm
from nst_jax.losses import Term as Term
from nst_jax.losses import TotalVariation as TotalVariation
from nst_jax.losses import static as static
from nst_jax.losses import term as term
from nst_jax.models.numerics import Numerics as Numerics
from nst_jax.models.preprocessing import Preprocessing as Preprocessing
from nst_jax.models.vgg import Network as Network
from nst_jax.models.vgg import features as features
from nst_jax.models.weights import load_network as load_network
from nst_jax.optim.problem import Problem as Problem
from nst_jax.optim.solvers import LBFGS as LBFGS
from nst_jax.optim.solvers import SGD as SGD
from nst_jax.optim.solvers import Adam as Adam
from nst_jax.optim.solvers import FixedLBFGS as FixedLBFGS
from nst_jax.optim.solvers import OptaxLBFGS as OptaxLBFGS
from nst_jax.plan.build import Plan as Plan
from nst_jax.plan.build import build as build
from nst_jax.plan.group import Group as Group
from nst_jax.report import contact_sheet as contact_sheet
