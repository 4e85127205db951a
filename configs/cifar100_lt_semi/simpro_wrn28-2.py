# SimPro by the authors' recipe (github.com/LeapLabTHU/SimPro @aa2425d): 43,000 iterations of 64 labeled images, in a
# weak and a strong view, and 512 unlabeled ones, in a weak and two strong views.
_base_ = './fixmatch_wrn28-2.py'
model = dict(
    head=dict(
        loss=dict(_delete_=True, type='ltmm.SimProLoss', threshold=0.2, labeled_weight=8 * 4741 / 14268),
    ),
)
train_dataloader = dict(
    batch_size=576,
    sampler=dict(ratio=(1, 8), length=500 * 576),
    dataset=dict(
        labeled=dict(dataset=dict(pipeline={{_base_.one_strong_pipeline}})),
        unlabeled=dict(dataset=dict(pipeline={{_base_.two_strong_pipeline}})),
    ),
)
optim_wrapper = dict(optimizer=dict(lr=0.17))
train_cfg = dict(max_epochs=86)
auto_scale_lr = dict(base_batch_size=576)
