from .functional import *
from .metrics import *
from .reports import *
