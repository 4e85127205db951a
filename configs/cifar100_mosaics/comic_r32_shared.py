# COMIC with one ResNet-32 for the three branches: the one to run on a CPU.
_base_ = './comic_r32.py'
model = dict(shared_backbone=True)
