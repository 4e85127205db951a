# SimPro in 32 px, with the rate and the views of github.com/LeapLabTHU/SimPro @aa2425d: 64 labeled images, in a weak
# and a strong view, and 64 unlabeled ones, in a weak and two strong views.
_base_ = './fixmatch_r50.py'
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.SimProLoss', labeled_weight=1 / 9)))
train_dataloader = dict(
    dataset=dict(
        labeled=dict(dataset=dict(pipeline=[*_base_.load, *_base_.one_strong_pipeline])),
        unlabeled=dict(dataset=dict(pipeline=[*_base_.load, *_base_.two_strong_pipeline])),
    ),
)
optim_wrapper = dict(optimizer=dict(lr=0.17))
