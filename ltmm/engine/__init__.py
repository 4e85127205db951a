from .hooks import *
from .optimizers import *
