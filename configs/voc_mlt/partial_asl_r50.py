# 40 % of all labels are unknown.
_base_ = './bce_r50.py'
model = dict(
    head=dict(
        loss=dict(
            _delete_=True, type='ltmm.PartialASLLoss', mode='selective', topk=5, prior_threshold=0.05, reduction='mean'
        )
    )
)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ltmm.PartialLabels',
        missing_rate=0.4,
        negative_missing_rate=0.4,
        unknown_as='unknown',
        dataset=dict(type='ltmm.VOCMLT', split='train', pipeline={{_base_.train_pipeline}}),
    )
)
val_evaluator = dict(class_counts=dict(type='ltmm.VOCMLT', split='train'))  # head and tail by all labels
test_evaluator = val_evaluator
