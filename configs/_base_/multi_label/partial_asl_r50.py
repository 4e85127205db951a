_base_ = './bce_r50.py'
model = dict(
    head=dict(
        loss=dict(
            _delete_=True, type='ltmm.PartialASLLoss', mode='selective', topk=5, prior_threshold=0.05, reduction='mean'
        )
    )
)
