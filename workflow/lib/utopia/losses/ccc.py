"""1 - Lin's concordance correlation (EEV 2021 sec. 4.4, Eq. 1)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from utopia.config.base import Strict
from utopia.losses._common import Batch, Loss
from utopia.losses._reactions import absolute, columns, video_sums

SMALLEST = 1e-8
"""Added to the denominator: of two constant series with one mean the correlation is then 0."""


class Config(Strict):
    """1 - Lin's concordance correlation over time, per video and reaction (EEV 2021 sec. 4.4, Eq. 1)."""

    covariance: Literal["mean", "reference"] = "mean"
    """`mean`: as the formula. `reference`: as in the reference code, whose covariance is a sum over the T frames where
    its variances are means with T - 1 below, and whose denominator takes the distance of the means from every video of
    the batch in turn, so that its CCC of a video is a mean over them."""
    weight: float = Field(1.0, gt=0)
    """Of this term; the reference code has 0.1 to 0.2, with the mean absolute error."""
    l1: float = Field(0.0, ge=0)
    """Of the mean absolute error that is added."""


class Concordance(Loss):
    """EEV 2021 Eq. 1, as a loss: sum over videos of w_v mean_c (1 - 2 cov / (var y + var p + (mean y - mean p)^2)).

    Moments are over time.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    def forward(self, batch: Batch) -> Tensor:
        """See `Loss.forward`. Rows weigh in the moments as they do in a sum of errors."""
        y_RC, p_RC = columns(batch.target_R), columns(batch.prediction_R)
        videos = int(batch.video_R.max()) + 1
        whole_V1 = video_sums(batch, y_RC.new_ones(len(y_RC), 1), videos)
        share_V1 = whole_V1.clamp(min=1e-20)
        mean_y_VC, mean_p_VC = (video_sums(batch, x_RC, videos) / share_V1 for x_RC in (y_RC, p_RC))
        y_RC, p_RC = y_RC - mean_y_VC[batch.video_R], p_RC - mean_p_VC[batch.video_R]
        products = (y_RC * p_RC, y_RC.square(), p_RC.square())
        cov_VC, var_y_VC, var_p_VC = (video_sums(batch, x_RC, videos) / share_V1 for x_RC in products)
        apart_VC = (mean_y_VC - mean_p_VC).square()
        if self.config.covariance == "reference":
            frames_V1 = batch.video_R.bincount(minlength=videos)[:, None]
            spread_VC = (var_y_VC + var_p_VC) * frames_V1 / (frames_V1 - 1).clamp(min=1)
            below_VVC = spread_VC + apart_VC[:, None]  # [whose means, whose variances, C]
            ccc_VC = (2 * frames_V1 * cov_VC / (below_VVC + SMALLEST)).mean(dim=0)
        else:
            ccc_VC = 2 * cov_VC / (var_y_VC + var_p_VC + apart_VC + SMALLEST)
        value = self.config.weight * (whole_V1 * (1 - ccc_VC)).mean(dim=1).sum()
        return value + self.config.l1 * absolute(batch) if self.config.l1 else value


def build(config: Config) -> Loss:
    """The loss."""
    return Concordance(config)
