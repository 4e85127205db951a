# Faster R-CNN on the caffe-style ImageNet ResNet-50, with anchors of half the size for images of 300 pixels
_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'

model = dict(
    data_preprocessor=dict(mean=[103.939, 116.779, 123.68], std=[1.0, 1.0, 1.0], bgr_to_rgb=False),
    backbone=dict(
        norm_cfg=dict(requires_grad=False),
        style='caffe',
        init_cfg=dict(checkpoint='{{$LTMM_DATA_ROOT:data}}/resnet50_caffe_in1k.pth', prefix='backbone.'),
    ),
    rpn_head=dict(anchor_generator=dict(scales=[4])),
    roi_head=dict(bbox_head=dict(reg_class_agnostic=True)),
    train_cfg=dict(rcnn=dict(sampler=dict(num=128))),
    test_cfg=dict(rcnn=dict(score_thr=1e-4, max_per_img=-1)),  # AP takes 300 per image, AP_fixed 10,000 per class
)
