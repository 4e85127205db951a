# LOCE, first stage: softmax, normalized mask classifier
_base_ = './softmax_r50_2x.py'

model = dict(roi_head=dict(mask_head=dict(predictor_cfg=dict(type='NormedConv2d'))))
