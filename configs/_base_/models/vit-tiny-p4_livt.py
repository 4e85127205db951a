# The encoder of mae_vit-tiny-p4.py as a classifier, 0.69 M parameters.
_base_ = './vit-base-p16_livt.py'
model = dict(
    backbone=dict(
        arch=dict(embed_dims=96, num_layers=6, num_heads=3, feedforward_channels=384), img_size=32, patch_size=4
    ),
    head=dict(in_channels=96),
)
