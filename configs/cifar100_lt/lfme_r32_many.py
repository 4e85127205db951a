# LFME's expert of the 35 classes of CIFAR100-LT with 100 images or more.
_base_ = './ce_r32.py'
data_preprocessor = dict(num_classes=35)
model = dict(head=dict(num_classes=35))
images = dict(type='ltmm.CIFAR100', split='train', pipeline=[dict(type='PackInputs')], test_mode=True)
left_out = dict(type='ltmm.LongTailed', imbalance_factor=100, val_images=20, dataset=images)
subset = dict(_delete_=True, type='ltmm.ClassSubset', group='many', counts_of={{_base_.train_dataloader.dataset}})
train_dataloader = dict(dataset=dict(subset, dataset={{_base_.train_dataloader.dataset}}))
val_dataloader = dict(dataset=dict(subset, dataset=left_out))
test_dataloader = dict(dataset=dict(subset, dataset={{_base_.test_dataloader.dataset}}))
