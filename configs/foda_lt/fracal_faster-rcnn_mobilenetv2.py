# For a checkpoint of softmax_faster-rcnn_mobilenetv2.py; tools/post_process.py --method fracal writes a checkpoint
_base_ = './softmax_faster-rcnn_mobilenetv2.py'

custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ltmm.PostProcessHook', steps=[dict(type='ltmm.FRACAL')]),
]
