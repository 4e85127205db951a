_base_ = [
    '../_base_/datasets/voc_mlt.py',
    '../_base_/models/pfc_resnet50.py',
    '../_base_/schedules/db_8e.py',
    '../_base_/default_runtime.py',
]
model = dict(head=dict(num_classes=20))
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ltmm.PartialLabels',
        missing_rate=0.0,
        dataset=dict(type='ltmm.VOCMLT', split='train', pipeline={{_base_.train_pipeline}}),
    )
)
