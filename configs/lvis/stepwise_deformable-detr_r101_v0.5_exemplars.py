_base_ = './stepwise_deformable-detr_r101_v0.5_stage0.py'
stages = ['{{ fileDirname }}/stepwise_deformable-detr_r101_v0.5_stage0.py']
mine_exemplars = dict(score_thr=0.5, max_per_class=500)
