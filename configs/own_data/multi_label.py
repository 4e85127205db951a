# Photos with several labels: a CSV file, or the classes of the boxes of a COCO json; docs/start/own_photos.md
#   python tools/train.py configs/own_data/multi_label.py --cfg-options data_root=my ann_file=labels.csv
_base_ = './finetune_r50.py'
data_type = 'ltmm.CSVDataset'  # 'ltmm.DetectionAsMultiLabel' for COCO
ann_file = 'labels.csv'
loss = 'ltmm.ASLLoss'  # unknown labels, -1, do not count
best = 'multi_label/mAP'
model = dict(
    head=dict(
        _delete_=True,
        type='ltmm.MultiLabelClsHead',
        num_classes='${num_classes}',
        in_channels=2048,
        loss=dict(type='${loss}', reduction='mean'),
    )
)
val_evaluator = dict(type='ltmm.MultiLabelMetric')
test_evaluator = val_evaluator
