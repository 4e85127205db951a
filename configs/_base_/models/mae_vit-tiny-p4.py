# Masked auto-encoder for images of 32 px: patches of 4 px, 6 layers of width 96; the decoder has 1 layer of width 64.
_base_ = './mae_vit-base-p16.py'
model = dict(
    backbone=dict(
        arch=dict(embed_dims=96, num_layers=6, num_heads=3, feedforward_channels=384), img_size=32, patch_size=4
    ),
    neck=dict(num_patches=64, patch_size=4, embed_dim=96, decoder_embed_dim=64, decoder_depth=1, decoder_num_heads=2),
    head=dict(patch_size=4),
)
