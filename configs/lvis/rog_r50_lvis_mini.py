# ROG on 33 photos, a smoke test: its figures say nothing about the method
_base_ = './eql_r50_lvis_mini.py'

model = dict(
    roi_head=dict(
        bbox_head=dict(
            loss_cls=dict(_delete_=True, type='ltmm.ROGLoss', loss=dict(type='ltmm.SigmoidCrossEntropyLoss'))
        )
    )
)
