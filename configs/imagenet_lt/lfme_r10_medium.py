# LFME's expert of the 463 classes of ImageNet-LT with 21 to 99 images, batch size 64.
_base_ = './lfme_r10_many.py'
data_preprocessor = dict(num_classes=463)
model = dict(head=dict(num_classes=463))
train_dataloader = dict(batch_size=8, dataset=dict(group='medium'))  # x 8 GPUs
val_dataloader = dict(dataset=dict(group='medium'))
test_dataloader = dict(dataset=dict(group='medium'))
auto_scale_lr = dict(base_batch_size=64)
