# ACR in 32 px, by the authors' recipe for CIFAR (github.com/Gank0078/ACR @9a8f421).
_base_ = './fixmatch_r50.py'
model = dict(
    head=dict(classifier=dict(type='ltmm.TwoBranchLinear'), loss=dict(_delete_=True, type='ltmm.ACRLoss')),
)
train_dataloader = dict(
    dataset=dict(unlabeled=dict(dataset=dict(pipeline=[*_base_.load, *_base_.two_strong_pipeline]))),
)
