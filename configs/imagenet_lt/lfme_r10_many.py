# LFME's expert of the 391 classes of ImageNet-LT with 100 images or more. The authors' code steps the schedule before
# each epoch: each has the rate of the next.
_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/resnet10_fc.py',
    '../_base_/schedules/cosine_90e.py',
    '../_base_/default_runtime.py',
]
data_preprocessor = dict(num_classes=391)
model = dict(head=dict(num_classes=391))
subset = dict(_delete_=True, type='ltmm.ClassSubset', group='many', counts_of={{_base_.train_dataloader.dataset}})
train_dataloader = dict(batch_size=16, dataset=dict(subset, dataset={{_base_.train_dataloader.dataset}}))  # x 8 GPUs
val_dataloader = dict(dataset=dict(subset, dataset={{_base_.val_dataloader.dataset}}))
test_dataloader = dict(dataset=dict(subset, dataset={{_base_.test_dataloader.dataset}}))
optim_wrapper = dict(optimizer=dict(lr=0.1))
param_scheduler = dict(_delete_=True, type='ltmm.ShiftedCosineLR', reaches_zero=True)
train_cfg = dict(max_epochs=120)
auto_scale_lr = dict(base_batch_size=128)
