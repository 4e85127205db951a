# SimPro by the authors' recipe (github.com/LeapLabTHU/SimPro @aa2425d): 43,000 iterations of 64 labeled images, in a
# weak and a strong view, and 1,024 unlabeled ones, in a weak and two strong views.
_base_ = './fixmatch_wrn28-2.py'
model = dict(
    head=dict(loss=dict(_delete_=True, type='ltmm.SimProLoss', tau=2.0, labeled_weight=16 * 1835 / 100000)),
)
train_dataloader = dict(
    batch_size=1088,
    sampler=dict(ratio=(1, 16), length=500 * 1088),
    dataset=dict(
        labeled=dict(dataset=dict(pipeline=[_base_.shrink, *_base_.one_strong_pipeline])),
        unlabeled=dict(pipeline=[_base_.shrink, *_base_.two_strong_pipeline]),
    ),
)
optim_wrapper = dict(optimizer=dict(lr=0.17))
train_cfg = dict(max_epochs=86)
auto_scale_lr = dict(base_batch_size=1088)
