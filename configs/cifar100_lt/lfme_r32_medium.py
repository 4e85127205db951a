# LFME's expert of the 34 classes of CIFAR100-LT with 21 to 99 images.
_base_ = './lfme_r32_many.py'
data_preprocessor = dict(num_classes=34)
model = dict(head=dict(num_classes=34))
train_dataloader = dict(dataset=dict(group='medium'))
val_dataloader = dict(dataset=dict(group='medium'))
test_dataloader = dict(dataset=dict(group='medium'))
