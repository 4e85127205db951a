# For tools/extract_features.py: CIFAR-100 at 64 px, ImageNet ResNet-50 (caffe style). Takes all 50,000 training images,
# for any imbalance factor.
_base_ = ['../_base_/datasets/cifar100_lt.py', '../_base_/models/resnet50.py', '../_base_/default_runtime.py']

data_preprocessor = dict(mean=[103.939, 116.779, 123.68], std=[1.0] * 3, to_rgb=True)  # CIFAR is RGB, caffe BGR
pipeline = [dict(type='Resize', scale=(64, 64), interpolation='bilinear'), dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=128,
    dataset=dict(_delete_=True, type='ltmm.CIFAR100', split='train', pipeline=pipeline),
)
val_dataloader = dict(batch_size=128, dataset=dict(pipeline=pipeline))
test_dataloader = val_dataloader
model = dict(
    backbone=dict(
        style='caffe',
        init_cfg=dict(
            type='Pretrained', checkpoint='{{$LTMM_DATA_ROOT:data}}/resnet50_caffe_in1k.pth', prefix='backbone.'
        ),
    ),
    head=dict(num_classes=100),
)
test_cfg = dict()
