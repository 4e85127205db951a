# SBCL, second half of the pre-training of sbcl_r50: a new optimizer and schedule, the network and queue of KCL.
_base_ = './kcl_r50_stage1.py'
model = dict(
    head=dict(
        loss=dict(
            type='ltmm.SubclassBalancedContrastiveLoss',
            temperature=0.07,
            class_term_weight=0.2,
            class_temperature=0.12,
            warmup_epochs=0,
            interval=5,
            min_size=20,
        )
    )
)
