# GOL: Gumbel activation, DropLoss, repeat factor sampling, a cosine classifier of masks, 2x
_base_ = './softmax_r50_2x.py'

model = dict(
    roi_head=dict(
        bbox_head=dict(
            type='ltmm.Shared2FCBBoxHead',
            loss_cls=dict(_delete_=True, type='ltmm.DropLoss', lambda_=0.0011, activation='gumbel'),
            init_cfg=[
                dict(type='Constant', val=0.001, bias=-2.0, override=dict(name='fc_cls')),
                dict(type='Normal', std=0.001, override=dict(name='fc_reg')),
                dict(type='Xavier', distribution='uniform', override=[dict(name='shared_fcs')]),
            ],
        ),
        mask_head=dict(predictor_cfg=dict(type='NormedConv2d')),
    ),
    test_cfg=dict(rcnn=dict(nms=dict(iou_threshold=0.3))),
)
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.RepeatFactorSampler', threshold=1e-3))
