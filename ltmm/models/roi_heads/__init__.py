from .bbox_heads import *
