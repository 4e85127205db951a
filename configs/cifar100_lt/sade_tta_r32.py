# Test a model of sade_r32.py: learn the weights of the experts on the unlabeled test images, which may be long-tailed.
# imbalance_factor=1 takes all test images; see README.md for the options.
_base_ = ['./sade_r32.py', '../_base_/pipelines/cifar_two_views.py']
stages = [dict(type='ltmm.TrainStage', config='{{ fileDirname }}/sade_r32.py')]
test_cfg = dict(type='ltmm.ExpertAggregationLoop', pipeline={{_base_.two_view_pipeline}}, lr=0.1, weight_decay=5e-4)
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ltmm.ShiftedTestSet',
        imbalance_factor=1,
        direction='forward',
        dataset={{_base_.test_dataloader.dataset}},
    )
)
