# LMR on images: ce_r32, then the whole network with a new classifier, class-aware sampling and mixed reconstruction.
# Constants of the authors for SSv2-LT, and as there a tenth of the learning rate; the epochs are ours.
_base_ = './ce_r32.py'
stages = [
    dict(type='ltmm.TrainStage', config='{{ fileDirname }}/ce_r32.py'),
    dict(type='ltmm.TrainStage'),
]
model = dict(head=dict(type='ltmm.LMRHead', scale=0.25, max_share=0.6, min_share=0.001, mix_prob=0.5, bank_size=1024))
custom_hooks = [*_base_.custom_hooks, dict(type='ltmm.LoadPartsHook', prefixes=['backbone'])]
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.ClassAwareSampler', num_samples_per_class=1))
optim_wrapper = dict(optimizer=dict(lr=0.01))
param_scheduler = [dict(type='CosineAnnealingLR')]
train_cfg = dict(max_epochs=10)
