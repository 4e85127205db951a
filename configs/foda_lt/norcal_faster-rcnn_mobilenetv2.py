# For a checkpoint of softmax_faster-rcnn_mobilenetv2.py; tools/post_process.py --method norcal searches gamma
_base_ = './softmax_faster-rcnn_mobilenetv2.py'

custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ltmm.PostProcessHook', steps=[dict(type='ltmm.NorCal', gamma=0.6)]),
]
