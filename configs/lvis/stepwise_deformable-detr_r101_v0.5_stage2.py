_base_ = './stepwise_deformable-detr_r50_v0.5_stage2.py'
stages = [
    '{{ fileDirname }}/stepwise_deformable-detr_r101_v0.5_stage0.py',
    '{{ fileDirname }}/stepwise_deformable-detr_r101_v0.5_exemplars.py',
    '{{ fileDirname }}/stepwise_deformable-detr_r101_v0.5_stage1.py',
]
model = dict(
    backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')),
    teacher_checkpoint='stage://stepwise_deformable-detr_r101_v0.5_stage1',
)
train_dataloader = dict(dataset=dict(exemplar_file='stage://stepwise_deformable-detr_r101_v0.5_exemplars'))
