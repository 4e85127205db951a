# Step 1 of LiVT: a masked auto-encoder on the images of ImageNet-LT, without labels.
_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/pipelines/livt_224.py',
    '../_base_/models/mae_vit-base-p16.py',
    '../_base_/schedules/mae_800e.py',
    '../_base_/default_runtime.py',
]
data_preprocessor = dict(
    _delete_=True,
    type='SelfSupDataPreprocessor',
    mean=[122.316, 116.717, 103.969],
    std=[71.139, 69.157, 72.946],
    to_rgb=True,
)
train_dataloader = dict(batch_size=512, dataset=dict(pipeline={{_base_.mae_pipeline}}))  # x 8 GPUs
val_cfg = val_dataloader = val_evaluator = None
test_cfg = test_dataloader = test_evaluator = None
