"""The four stages of step-wise learning at the size of toy_lvis."""

from pathlib import Path

from mmengine.config import Config, ConfigDict
from toy_lvis import CLASSES, detector_config

NAMES = ('stage0', 'exemplar_mining', 'stage1', 'stage2')
BOUNDS = (1, 2, 4)  # of lvis_content(): kite in 8 images, ladder in 1, mug in 3, oar in 1
KD = dict(
    loss_kd=dict(type='ltmm.QuerySharedKDLoss', min_images=2),
    loss_feature=dict(type='ltmm.MaskedFeatureLoss', min_images=2),
)


def deformable_detr(num_queries: int = 10) -> dict:
    """A two-stage Deformable DETR with box refinement, of two layers; mmdet knows it with 256 channels only."""
    attention = dict(embed_dims=256, num_heads=4, batch_first=True)
    deformable = dict(attention, num_levels=2, num_points=2)
    ffn = dict(embed_dims=256, feedforward_channels=16, ffn_drop=0.1)
    return dict(
        type='DeformableDETR',
        num_queries=num_queries,
        num_feature_levels=2,
        with_box_refine=True,
        as_two_stage=True,
        data_preprocessor=dict(type='DetDataPreprocessor', mean=[0] * 3, std=[255] * 3, pad_size_divisor=1),
        backbone=dict(type='ResNet', depth=18, base_channels=8, out_indices=(2, 3), norm_eval=True),
        neck=dict(
            type='ChannelMapper',
            in_channels=[32, 64],
            kernel_size=1,
            out_channels=256,
            act_cfg=None,
            norm_cfg=dict(type='GN', num_groups=4),
            num_outs=2,
        ),
        encoder=dict(num_layers=1, layer_cfg=dict(self_attn_cfg=deformable, ffn_cfg=ffn)),
        decoder=dict(
            num_layers=2,
            return_intermediate=True,
            layer_cfg=dict(self_attn_cfg=attention, cross_attn_cfg=deformable, ffn_cfg=ffn),
            post_norm_cfg=None,
        ),
        positional_encoding=dict(num_feats=128, normalize=True, offset=-0.5),
        bbox_head=dict(
            type='DeformableDETRHead',
            num_classes=len(CLASSES),
            embed_dims=256,
            loss_cls=dict(type='FocalLoss', use_sigmoid=True, loss_weight=3.0),
            loss_bbox=dict(type='L1Loss', loss_weight=5.0),
            loss_iou=dict(type='GIoULoss', loss_weight=2.0),
        ),
        train_cfg=dict(
            assigner=dict(
                type='HungarianAssigner',
                match_costs=[
                    dict(type='FocalLossCost', weight=2.0),
                    dict(type='BBoxL1Cost', weight=5.0, box_format='xywh'),
                    dict(type='IoUCost', iou_mode='giou', weight=2.0),
                ],
            )
        ),
        test_cfg=dict(max_per_img=20),
    )


def stage_configs(folder: Path, data: Path, detr: bool) -> Path:
    """Write the configs of all stages into ``folder``, and give the path of the last.

    Args:
        folder: for the configs.
        data: what :func:`toy_lvis.write_lvis` wrote.
        detr: Deformable DETR in place of Mask R-CNN.
    """
    stage0 = detector_config('', data)
    stage0.pop('work_dir')
    stage0.val_cfg = stage0.val_dataloader = stage0.val_evaluator = None
    stage0.default_hooks.checkpoint.max_keep_ckpts = 4
    stage0.train_cfg.max_epochs = 2
    stage0.optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3), clip_grad=dict(max_norm=10))
    if detr:
        stage0.model = deformable_detr()
        stage0.train_dataloader.dataset.pipeline[1] = dict(type='LoadAnnotations', with_bbox=True)
    else:
        stage0.model.backbone.norm_eval = True
    type_of_student = 'ltmm.DistillDeformableDETR' if detr else 'ltmm.DistillTwoStageDetector'
    keep = ['bbox_head.cls_branches', 'neck'] if detr else ['roi_head.bbox_head.fc_cls', 'neck.lateral_convs']

    def write(name: str, base: Config, **options) -> Config:
        cfg = Config(base.to_dict())
        cfg.merge_from_dict(options)
        cfg.dump(folder / f'{name}.py')
        return cfg

    def smooth_tail(*per_class: int | None, power: tuple[float, ...]) -> dict:
        dataset = dict(
            type='ltmm.SmoothTailDataset',
            exemplar_file='stage://exemplar_mining',
            exemplars_per_class=per_class,
            group_bounds=BOUNDS,
        )
        sampler = dict(
            _delete_=True,
            type='ltmm.RepeatFactorSampler',
            threshold=0.5,
            power=power,
            group_bounds=BOUNDS,
            rounding='ceil',
        )
        return dict(dataset=dataset, sampler=sampler)

    stages = [
        dict(type='ltmm.TrainStage', config=str(folder / 'stage0.py')),
        dict(type='ltmm.ExemplarMiningStage', score_thr=0.05, max_per_class=4),
        dict(type='ltmm.TrainStage', config=str(folder / 'stage1.py')),
        dict(type='ltmm.TrainStage'),
    ]
    write('stage0', stage0)
    write('exemplars', stage0, stages=stages[:2])
    stage1 = write(
        'stage1',
        stage0,
        stages=stages[:3],
        train_dataloader=smooth_tail(None, 2, 3, 3, power=(0.5, 0.5, 0.3, 0)),
        custom_hooks=[*stage0.custom_hooks, dict(type='ltmm.FreezeHook', keep=keep)],
    )
    write(
        'stage2',
        stage1,
        stages=stages,
        train_dataloader=smooth_tail(None, 2, 2, 2, power=(1, 1, 0, 0)),
        model=ConfigDict(type=type_of_student, teacher_checkpoint='stage://stage1', **KD),
    )
    return folder / 'stage2.py'
