"""The bidirectional LSTM over clips against torch's own, and stacked replicas against each alone."""

from __future__ import annotations

import torch
from rmn_parts import clips_of
from torch import nn

from utopia.models._clips import ClipEncoder, ClipGrid
from utopia.models._lstm import BiLstm


def reference(ours: BiLstm, width: int) -> nn.LSTM:
    """Torch's layers with our parameters."""
    theirs = nn.LSTM(width, ours.units, ours.layers, batch_first=True, bidirectional=True).double()
    theirs.load_state_dict(ours.state_dict())
    return theirs


def test_initial_values_are_those_of_torchs_layers() -> None:
    torch.manual_seed(3)
    ours = BiLstm(5, 4, 2)
    torch.manual_seed(3)
    theirs = nn.LSTM(5, 4, 2, bidirectional=True)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))


def test_as_torchs_layers_outputs_and_gradients() -> None:
    """Clips of several lengths, each from zero states at both of its ends; padding adds nothing."""
    ours = BiLstm(7, 5, 2).double()
    theirs = reference(ours, 7)
    lengths = [6, 6, 2, 1]
    x_1QLD = torch.randn(1, 4, 6, 7, dtype=torch.double, requires_grad=True)
    real_1QL = torch.arange(6) < torch.tensor(lengths)[None, :, None]
    found = ours(x_1QLD, real_1QL)
    assert (found[~real_1QL] == 0).all()
    expected = [theirs(x_1QLD[0, q, :frames][None])[0][0] for q, frames in enumerate(lengths)]
    torch.testing.assert_close(found[real_1QL], torch.cat(expected), rtol=0, atol=1e-13)
    whole = ours(x_1QLD[:, :2], None)
    torch.testing.assert_close(whole, found[:, :2], rtol=0, atol=1e-13)
    weight = torch.randn(sum(lengths), 10, dtype=torch.double)
    (gx,) = torch.autograd.grad((found[real_1QL] * weight).sum(), x_1QLD, retain_graph=True)
    (wanted,) = torch.autograd.grad((torch.cat(expected) * weight).sum(), x_1QLD, retain_graph=True)
    torch.testing.assert_close(gx, wanted, rtol=0, atol=1e-12)
    (found[real_1QL] * weight).sum().backward()
    (torch.cat(expected) * weight).sum().backward()
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=0, atol=1e-12, msg=name)


def test_a_grid_goes_from_clips_to_videos_and_back() -> None:
    """Two replicas with other numbers of videos, one without frames: what is padding is 0, the rest in its place."""
    grid = ClipGrid([[(0, 7), (7, 0), (7, 4)], [(20, 10)]], 4, torch.device("cpu"))
    assert (grid.replicas, grid.videos, grid.clips, grid.size) == (2, 3, 3, 4)
    assert grid.row_KP[0].tolist() == [0, 1, 2, 3, 4, 5, 6, 6, 7, 8, 9, 10]
    assert grid.row_KP[1].tolist() == [20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 29, 29]
    assert grid.at == [[0, 8, 8], [0]] and grid.counts == [[2, 0, 1], [3]]
    number_KQ1 = torch.tensor([[1.0, 2, 3], [4, 5, 6]])[..., None]
    table = grid.by_video(number_KQ1)
    assert table[..., 0].tolist() == [[1, 2, 0], [0, 0, 0], [3, 0, 0], [4, 5, 6], [0, 0, 0], [0, 0, 0]]
    assert torch.equal(grid.by_clip(table), number_KQ1)
    value_KP = grid.row_KP.double() % 7
    assert grid.video_mean(value_KP).tolist() == [[3.0, 0.0, 1.5], [2.8, 0.0, 0.0]]


def test_the_last_state_is_that_of_the_last_frame() -> None:
    encoder = ClipEncoder(3, 8, 4, 1, "last").double()
    x_RD = torch.randn(7, 3, dtype=torch.double)
    o_Rd, h_Cd = clips_of(encoder, x_RD, [4, 3])
    torch.testing.assert_close(h_Cd[1], torch.cat([o_Rd[6, :4], o_Rd[4, 4:]]), rtol=0, atol=0)
