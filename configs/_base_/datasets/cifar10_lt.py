# CIFAR10-LT: 12,406 training images at imbalance factor 100 (5,000 to 50 per class), 10,000 balanced test images.
_base_ = './cifar100_lt.py'
data_preprocessor = dict(num_classes=10)
train_dataloader = dict(dataset=dict(dataset=dict(type='ltmm.CIFAR10')))
val_dataloader = dict(dataset=dict(type='ltmm.CIFAR10'))
test_dataloader = val_dataloader
