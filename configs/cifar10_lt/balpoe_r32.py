_base_ = '../cifar100_lt/balpoe_r32.py'
data_preprocessor = dict(num_classes=10)
model = dict(head=dict(num_classes=10), train_cfg=dict(augments=dict(alpha=0.8)))
train_dataloader = dict(dataset=dict(dataset=dict(type='ltmm.CIFAR10')))
val_dataloader = dict(dataset=dict(type='ltmm.CIFAR10'))
test_dataloader = val_dataloader
