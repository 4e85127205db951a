# SSP: cross entropy from a backbone pre-trained by MoCo v2, the authors' recipe with batches of 128.
_base_ = './ce_r50.py'
stages = [
    dict(type='ltmm.PretrainStage', config='{{ fileDirname }}/moco_r50_pretrain.py'),
    dict(type='ltmm.TrainStage'),
]
train_dataloader = dict(batch_size=16)  # x 8 GPUs
auto_scale_lr = dict(base_batch_size=128)
