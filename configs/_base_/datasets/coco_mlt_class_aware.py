# COCO-MLT with class-aware sampling, as distribution-balanced loss uses it.
_base_ = './coco_mlt.py'
train_dataloader = dict(
    drop_last=True,
    sampler=dict(_delete_=True, type='ltmm.ClassAwareSampler', num_samples_per_class=3, length='max', reduce=4),
)
