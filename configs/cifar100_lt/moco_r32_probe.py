# Linear probe of MoCo: pre-training on CIFAR100-LT, then a classifier on its frozen backbone, with all 50,000 images of
# CIFAR-100. Many, medium and few are the classes of CIFAR100-LT. The same for a balanced set of the same size:
#   --cfg-options stage1.train_dataloader.dataset.imbalance_factor=1 stage1.train_dataloader.dataset.num_images=10847
_base_ = [
    '../_base_/datasets/cifar100_lt.py',
    '../_base_/models/resnet32_cifar.py',
    '../_base_/schedules/linear_probe_100e.py',
    '../_base_/default_runtime.py',
]
stages = [
    dict(type='ltmm.PretrainStage', config='{{ fileDirname }}/moco_r32_pretrain.py'),
    dict(type='ltmm.TrainStage'),
]
custom_hooks = [*_base_.custom_hooks, dict(type='ltmm.FreezeHook', prefixes=['backbone'], norm_eval=True)]
model = dict(head=dict(num_classes=100, init_cfg=dict(_delete_=True, type='Normal', layer='Linear', std=0.01)))
long_tail = {{_base_.train_dataloader.dataset}}
dataset = dict(_delete_=True, type='ltmm.CIFAR100', split='train', pipeline={{_base_.train_pipeline}})
train_dataloader = dict(batch_size=256, dataset=dataset)
val_evaluator = dict(class_counts=long_tail)
test_evaluator = [dict(type='ltmm.LongTailMetric', class_counts=long_tail)]
