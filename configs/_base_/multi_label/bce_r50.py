# Binary cross entropy with the recipe of distribution-balanced loss (Wu et al., ECCV 2020): 8 epochs of SGD.
_base_ = ['../models/pfc_resnet50.py', '../schedules/db_8e.py', '../default_runtime.py']
