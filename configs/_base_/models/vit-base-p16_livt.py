# ViT-B/16 whose classifier sees the mean of the patches, with balanced BCE.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='VisionTransformer',
        arch=dict(embed_dims=768, num_layers=12, num_heads=12, feedforward_channels=3072),
        img_size=224,
        patch_size=16,
        drop_path_rate=0.1,
        out_type='avg_featmap',
        final_norm=False,
    ),
    head=dict(
        type='ltmm.LongTailClsHead',
        in_channels=768,
        loss=dict(type='ltmm.BalancedBCELoss', smoothing=0.1),
        init_cfg=dict(type='TruncNormal', layer='Linear', std=2e-5),
    ),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]),
)
