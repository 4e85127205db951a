# As finetune_r50.py with a ViT-B/16 of ImageNet-21k: better features, for a GPU.
_base_ = './finetune_r50.py'
pretrained = (
    'https://mmassets.onedl.ai/mmclassification/v0/vit/finetune/'
    'vit-base-p16_in21k-pre-3rdparty_ft-64xb64_in1k-384_20210928-98e8652b.pth'
)
frozen_stages = 0  # of 12
lr = 5e-5
data_preprocessor = dict(mean=[127.5] * 3, std=[127.5] * 3)
model = dict(
    backbone=dict(
        _delete_=True,
        type='VisionTransformer',
        arch='b',
        img_size='${image_size}',
        drop_path_rate=0.1,
        frozen_stages='${frozen_stages}',
        init_cfg=dict(type='Pretrained', checkpoint='${pretrained}', prefix='backbone.'),
    ),
    neck=None,
    head=dict(in_channels=768),
)
optimizer = dict(_delete_=True, type='AdamW', lr='${lr}', weight_decay=0.05)
optim_wrapper = dict(optimizer=optimizer, clip_grad=dict(max_norm=1.0))
