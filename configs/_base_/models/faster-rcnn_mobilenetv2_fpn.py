# Faster R-CNN for CPUs: three feature levels, small heads, few proposals
_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.MobileNetV2',
        out_indices=(2, 4, 6),
        frozen_stages=3,
        norm_eval=True,
        init_cfg=dict(
            type='Pretrained', checkpoint='{{$LTMM_DATA_ROOT:data}}/mobilenetv2_in1k.pth', prefix='backbone.'
        ),
    ),
    neck=dict(in_channels=[32, 96, 320], out_channels=96, num_outs=3),
    rpn_head=dict(
        in_channels=96,
        feat_channels=96,
        anchor_generator=dict(scales=[2, 4], strides=[8, 16, 32]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(
            roi_layer=dict(sampling_ratio=1), out_channels=96, featmap_strides=[8, 16, 32], finest_scale=28
        ),
        bbox_head=dict(in_channels=96, fc_out_channels=256, reg_class_agnostic=True),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=250, max_per_img=100),
        rcnn=dict(sampler=dict(num=32)),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=250, max_per_img=100),
        rcnn=dict(score_thr=1e-4, max_per_img=-1),  # AP takes 300 per image, AP_fixed 10,000 per class
    ),
)
