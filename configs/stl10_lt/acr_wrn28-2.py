# ACR by the authors' recipe (github.com/Gank0078/ACR @9a8f421): two strong views, and a second classifier.
_base_ = './fixmatch_wrn28-2.py'
model = dict(
    head=dict(classifier=dict(type='ltmm.TwoBranchLinear'), loss=dict(_delete_=True, type='ltmm.ACRLoss')),
)
train_dataloader = dict(
    dataset=dict(unlabeled=dict(pipeline=[_base_.shrink, *_base_.two_strong_pipeline])),
)
