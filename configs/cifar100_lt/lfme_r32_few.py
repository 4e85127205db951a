# LFME's expert of the 31 classes of CIFAR100-LT with 20 images or fewer.
_base_ = './lfme_r32_many.py'
data_preprocessor = dict(num_classes=31)
model = dict(head=dict(num_classes=31))
train_dataloader = dict(dataset=dict(group='few'))
val_dataloader = dict(dataset=dict(group='few'))
test_dataloader = dict(dataset=dict(group='few'))
