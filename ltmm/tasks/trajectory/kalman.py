"""Hardness of a trajectory: how far a Kalman filter misses its end."""

import numpy as np

__all__ = ['kalman_hardness', 'kalman_prediction']


def kalman_prediction(
    positions: np.ndarray, horizon: int, dt: float, acceleration: float = 0.3, noise: float = 0.05
) -> np.ndarray:
    r"""Extrapolate tracks at the constant velocity that a Kalman filter estimates, (N, H, 2), in meters.

    Position p and velocity v, the same for x and y, follow

    .. math:: s_t = F s_{t-1} + a \binom{\Delta^2 / 2}{\Delta}, \qquad z_t = p_t + \epsilon, \qquad
        F = \begin{pmatrix} 1 & \Delta \\ 0 & 1 \end{pmatrix}

    with a random acceleration :math:`a` and a random error :math:`\epsilon` of the observation. The gain depends on no
    observation, so all tracks share it.

    Args:
        positions: Observed positions in meters, (N, T, 2).
        horizon: H, number of future steps.
        dt: :math:`\Delta`, seconds between two steps.
        acceleration: Standard deviation of a, in m / s^2.
        noise: Standard deviation of the observation error, in meters.
    """
    transition, push = np.array([[1, dt], [0, 1]]), np.array([dt**2 / 2, dt])
    state = np.stack([positions[:, 0], np.zeros_like(positions[:, 0])], axis=1)  # (N, 2, 2): position, velocity
    covariance = np.diag([noise**2, 10.0**2])
    for t in range(1, positions.shape[1]):
        state = transition @ state
        covariance = transition @ covariance @ transition.T + acceleration**2 * np.outer(push, push)
        gain = covariance[:, 0] / (covariance[0, 0] + noise**2)  # (2,)
        state = state + gain[:, None] * (positions[:, t] - state[:, 0])[:, None]
        covariance = covariance - np.outer(gain, covariance[0])
    steps = dt * np.arange(1, horizon + 1)
    return state[:, :1] + steps[:, None] * state[:, 1:]


def kalman_hardness(past: np.ndarray, future: np.ndarray, dt: float) -> np.ndarray:
    """Compute the distance in meters between the true and the extrapolated end of each track, (N,).

    It is near 0 for the many tracks that go straight on, large for the few that turn or stop.

    Args:
        past: Observed positions in meters, (N, T, 2).
        future: (N, H, 2).
        dt: Seconds between two steps.
    """
    predicted = kalman_prediction(past, future.shape[1], dt)
    return np.linalg.norm(predicted[:, -1] - future[:, -1], axis=-1)
