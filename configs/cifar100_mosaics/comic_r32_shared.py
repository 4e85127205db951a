# COMIC with one ResNet-32 for the three branches; use this one on a CPU.
_base_ = './comic_r32.py'
model = dict(shared_backbone=True)
