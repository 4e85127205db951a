# Plain SAM in the recipe of focal_sam_r32.py: all classes have weight 1.
_base_ = './focal_sam_r32.py'
model = dict(gamma=0.0, sharpness=1.0)
