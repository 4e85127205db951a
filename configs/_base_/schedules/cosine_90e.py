# The schedule of Decoupling (Kang et al., ICLR 2020), batch size 512. Its code steps the schedule before each epoch:
# with PyTorch < 1.1, which it asks for, the rates are these; with a later one each epoch has the rate of the next.
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.2, momentum=0.9, weight_decay=5e-4))
param_scheduler = dict(type='CosineAnnealingLR')
train_cfg = dict(by_epoch=True, max_epochs=90, val_interval=10)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=512)
