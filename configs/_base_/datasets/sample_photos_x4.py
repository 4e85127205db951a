# Photos of scikit-image and scikit-learn: 10 to train on, 4 to test. 96 pixels become 24.
_loader = dict(num_workers=0, collate_fn=dict(type='default_collate'))
train_dataloader = dict(
    batch_size=8,
    dataset=dict(type='ltmm.SamplePhotos', split='train', scale=4, patch_size=24, crops_per_image=64),
    sampler=dict(type='DefaultSampler', shuffle=True),
    drop_last=True,
    **_loader,
)
val_dataloader = dict(
    batch_size=1,
    dataset=dict(type='ltmm.SamplePhotos', split='test', scale=4),
    sampler=dict(type='DefaultSampler', shuffle=False),
    **_loader,
)
test_dataloader = val_dataloader
val_evaluator = [dict(type='ltmm.SuperResolutionMetric', crop_border=4)]
test_evaluator = val_evaluator
