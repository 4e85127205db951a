# Tests a model of sade_r50.py: learns the weights of the experts on the test images, without their labels
_base_ = ['./sade_r50.py', '../_base_/pipelines/two_views_224.py']
test_cfg = dict(type='ltmm.ExpertAggregationLoop', pipeline={{_base_.two_view_pipeline}}, lr=0.2, weight_decay=2e-4)
