"""Geometry of class manifolds."""

import numpy as np

from ltmm.evaluation.functional import (
    eigen_curvature,
    local_concavity,
    manifold_volume,
    subspace_angle_curvature,
)

from ..frame import Case, adaptor


@adaptor('curvature', ignores=dict(seed='of the random inputs, which are in the arrays'))
def curvature(case: Case) -> dict[str, float | np.ndarray]:
    params, features = case.params, case.arrays['X']
    angle = subspace_angle_curvature(features, params['k_subspace'])
    gaussian, mean = eigen_curvature(features, params['k_pmg'], params['pca_components'])
    volume = manifold_volume(features)
    return dict(
        subspace_angle_curvature=angle.mean(),
        subspace_angle_local=angle,
        pmg_gaussian=gaussian.mean(),
        pmg_mean=mean.mean(),
        pmg_concavity=local_concavity(features, params['k_pmg']).mean(),
        volume=volume,
        density=volume / len(features),
    )
