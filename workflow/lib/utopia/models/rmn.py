"""RMN: the memory network of Zhang, Zhao and Qian (ACM MM 2022), written to by reinforcement learning. **Our** RMN.

No public implementation is known, and of the paper only the abstract, two summaries by its authors' company and ULDA's
description could be read. Any number of this model is one of this reading, not of the published network.

Documented: features of 10-second clips from an LSTM; a memory bank of N = 10 rows of d = 128 that is read and written,
so that a clip's prediction can rely on related clips before it; its contents are updated every 32 steps; writing is
learnt by DDPG (a policy and a value network) with one-step temporal differences, so that nothing is propagated back
through long sequences; Adam with 1e-4 for everything (ULDA 7.3). All else is our reading [U]; docs/rmn.md says what it
is and what it was measured to do. For clip t, with LSTM outputs o_j at its frames j:

    clip     h_t = mean_j o_j
    write    the bank is full: the policy drops one of its N rows, in whose place h_t is written, or drops h_t
             (`_bank`); empty rows are filled first; what is read is rewritten every 32 steps
    read     r_t = sum_i a_i W_v M[i],  a = softmax_i(s cos(W_q h_t, W_k M[i])) over the rows that are filled
    predict  y_j = act(MLP([o_j; r_t]))

The network is in `_memory_network`, and `_ddpg` trains its policy.
"""

from __future__ import annotations

from collections.abc import Sequence

from utopia.config.memory import MemorySettings
from utopia.models._common import Activation, Regressor
from utopia.models._ddpg import DdpgLearner
from utopia.models._learner import MakeUpdate, ReadVideos
from utopia.models._memory_network import MemoryNetwork
from utopia.models._memory_use import diagnose

STACKABLE = True


class Config(MemorySettings):
    """Memory network with a writer learnt by reinforcement (our reading of Zhang et al., ACM MM 2022)."""


class Rmn(MemoryNetwork):
    """The network with its learner."""

    def learner(self, make_update: MakeUpdate) -> DdpgLearner:
        """See `utopia.models._learner.Learns`."""
        return DdpgLearner(self, make_update)

    def diagnose(self, groups: Sequence[ReadVideos]) -> dict[str, float | None]:
        """See `utopia.models._learner.Diagnoses`."""
        return diagnose(self, groups)


def build(config: Config, d_in: int, activation: Activation, step_s: float = 1.0) -> Regressor:
    """The model.

    Args:
        config: its settings.
        d_in: width D of the input features.
        activation: the output function that fits the label range, used with `out_act: by_range`.
        step_s: seconds from one label to the next; what makes 10 seconds of a clip.
    """
    chosen = activation if config.out_act == "by_range" else config.out_act
    clip = max(1, round(config.clip_s / step_s))
    return Rmn(config, d_in, chosen, clip)
