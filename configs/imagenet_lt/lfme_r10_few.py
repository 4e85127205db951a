# LFME's expert of the 146 classes of ImageNet-LT with 20 images or fewer, batch size 32.
_base_ = './lfme_r10_many.py'
data_preprocessor = dict(num_classes=146)
model = dict(head=dict(num_classes=146))
train_dataloader = dict(batch_size=4, dataset=dict(group='few'))  # x 8 GPUs
val_dataloader = dict(dataset=dict(group='few'))
test_dataloader = dict(dataset=dict(group='few'))
auto_scale_lr = dict(base_batch_size=32)
