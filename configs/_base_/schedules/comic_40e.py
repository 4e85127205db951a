# COMIC's schedule: the rates of the features fall every 12 epochs, those of classifiers and attention every 18; the
# authors count from 1, so that the first epoch with a lower rate is the one before.
optim_wrapper = dict(
    optimizer=dict(type='Adam', lr=1e-3, weight_decay=1e-4),
    paramwise_cfg=dict(
        custom_keys={
            'head.fc': dict(lr_mult=0.1, milestones=[17, 35]),
            'head.attention': dict(milestones=[17, 35]),
        }
    ),
)
param_scheduler = dict(type='ltmm.PartMultiStepLR', milestones=[11, 23, 35])
train_cfg = dict(by_epoch=True, max_epochs=40, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=32)
