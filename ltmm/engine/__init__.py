from .hooks import *
from .optimizers import *
from .runner import *
from .schedulers import *
