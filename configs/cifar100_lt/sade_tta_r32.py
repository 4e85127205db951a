# Tests a model of sade_r32.py: learns the weights of the experts on the test images, without their labels
_base_ = ['./sade_r32.py', '../_base_/pipelines/cifar_two_views.py']
test_cfg = dict(type='ltmm.ExpertAggregationLoop', pipeline={{_base_.two_view_pipeline}}, lr=0.1, weight_decay=5e-4)
