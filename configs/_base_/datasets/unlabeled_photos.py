# All photos below a folder, without labels, in one or several views
data_root = None
image_size = 224
batch_size = 64
num_workers = 2

data_preprocessor = dict(
    type='ltmm.MultiViewDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True
)
train_dataloader = dict(
    batch_size='${batch_size}',
    num_workers='${num_workers}',
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    drop_last=True,
    dataset=dict(type='ltmm.CustomDataset', data_root='${data_root}', with_label=False),
)
