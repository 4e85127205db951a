from mmengine.runner import Runner
from toy_multi_label import toy_comic_config


def test_a_multi_label_classifier_trains_on_partial_labels_and_its_checkpoint_carries_the_prior(tmp_path):
    cfg = toy_comic_config(tmp_path)
    cfg.model = dict(
        type='ImageClassifier',
        data_preprocessor=cfg.model.data_preprocessor,
        backbone=dict(type='ltmm.ResNetCIFAR', depth=8, channels=(4, 4, 8)),
        neck=dict(type='ltmm.PFC', in_channels=8, out_channels=8, dropout=0.1),
        head=dict(
            type='ltmm.MultiLabelClsHead',
            num_classes=3,
            in_channels=8,
            loss=dict(type='ltmm.PartialASLLoss', mode='selective', topk=1, prior_threshold=0.5),
        ),
    )
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.model.head.get_class_distribution().num_classes == 3
    figures = runner.test()
    assert 50 < figures['multi_label/mAP'] <= 100
    assert {'multi_label/medium', 'multi_label/tail', 'multi_label/micro_f1'} <= figures.keys()
    assert 'multi_label/head' not in figures  # no class has 100 images
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert '0 head (>= 100), 1 medium, 2 tail (< 20)' in log and ' few' not in log  # one vocabulary
