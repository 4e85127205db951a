# COMIC: the learning rate drops every 12 epochs, every 18 for balanced classifier and attention, every 24 for the
# branch that the config of the data set names. The authors step before each epoch: drops are one epoch earlier.
optim_wrapper = dict(
    optimizer=dict(type='Adam', lr=1e-3, weight_decay=1e-4),
    paramwise_cfg=dict(
        custom_keys={
            'head.fc': dict(lr_mult=0.1),
            'head.fc.balanced': dict(lr_mult=0.1, milestones=[17, 35]),
            'head.attention': dict(milestones=[17, 35]),
        }
    ),
)
param_scheduler = dict(type='ltmm.PartMultiStepLR', milestones=[11, 23, 35])
train_cfg = dict(by_epoch=True, max_epochs=40, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=32)
