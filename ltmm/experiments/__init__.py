"""Tables of runs, the machines they run on, and searches of settings."""

from .comparison import Comparison, compare
from .jobs import LocalLauncher, RayLauncher, SlurmLauncher
from .recipes import plan, read_recipe
from .run import Run
from .running import run_all

__all__ = [
    'Comparison',
    'LocalLauncher',
    'RayLauncher',
    'Run',
    'SlurmLauncher',
    'compare',
    'plan',
    'read_recipe',
    'run_all',
]
