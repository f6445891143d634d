from __future__ import annotations

import itertools
import math
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchaudio.models import hdemucs_high
from torchaudio.transforms import Fade

from utopia import seeds
from utopia.errors import InputError
from utopia.extractors import _separation, vggish, vggish_music
from utopia.extractors._separation import RATE, STRIDE, Spool, hybrid_demucs, separated
from utopia.media.audio import resample

CPU = torch.device("cpu")
LENGTH, FADE = 11 * STRIDE, STRIDE
"""What 1 s and 0.1 s are in steps of the network."""


def noise(seconds: float, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.01, 0.1, (2, round(seconds * RATE))).astype(np.float32)


def copies(mix: torch.Tensor) -> torch.Tensor:
    """A separator whose sources are parts of the mix: drums 0.1, bass 0.2, other 0.3, vocals 0.4 of it."""
    return mix[:, None] * torch.tensor([0.1, 0.2, 0.3, 0.4])[None, :, None, None]


class Smooth:
    """A separator that looks a millisecond to either side, and remembers how long its pieces were."""

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def __call__(self, mix: torch.Tensor) -> torch.Tensor:
        self.lengths.append(mix.shape[-1])
        kernel = torch.hann_window(89)[None, None] / 44
        smooth = torch.nn.functional.conv1d(mix.transpose(0, 1), kernel, padding=44).transpose(0, 1)
        return copies(smooth)


def separate_music(
    sound: np.ndarray, network: Any, device: torch.device, segment_s: float = 11.0, fade_s: float = 0.1
) -> np.ndarray:
    """`separated` of a sound float32 [2, samples] that lies in memory, in one piece: float32 [samples]."""
    pieces = separated(lambda start, stop: sound[:, start:stop], sound.shape[1], network, device, segment_s, fade_s)
    return np.concatenate([np.empty(0, np.float32), *pieces])


def test_music_is_everything_but_vocals_and_pieces_leave_no_seam() -> None:
    sound = noise(5.3)
    music = separate_music(sound, copies, CPU, 1.0, 0.1)
    centred = sound.mean(0) - sound.mean()
    np.testing.assert_allclose(music, 0.6 * centred + sound.mean(), rtol=0, atol=1e-6)


def test_pieces_equal_one_piece_but_for_what_a_separator_sees_beyond_their_ends() -> None:
    sound = noise(5.3)
    whole, pieces = Smooth(), Smooth()
    expected = separate_music(sound, whole, CPU, 100.0, 0.1)
    music = separate_music(sound, pieces, CPU, 1.0, 0.1)
    assert whole.lengths == [sound.shape[1]]
    assert max(pieces.lengths) == LENGTH + FADE and len(pieces.lengths) == 6
    away = np.ones(len(music), bool)
    for piece in range(1, 6):  # where a piece ends the window is cut, and its fade is nearly 0 or 1 there
        for edge in (piece * LENGTH, piece * LENGTH - FADE):
            away[edge - 45 : edge + 45] = False
    np.testing.assert_allclose(music[away], expected[away], rtol=0, atol=1e-6)
    assert np.abs(music - expected).max() < 0.01 * expected.std()


def test_pieces_equal_one_piece_of_the_network_itself() -> None:
    """Not exactly: its normalisation and its memory reach over a whole piece."""
    network = hybrid_demucs(4, None, 3)
    sound = noise(4.0)
    with torch.inference_mode():
        whole = separate_music(sound, network, CPU, 100.0, 0.1)
        pieces = separate_music(sound, network, CPU, 1.5, 0.1)
    assert np.square(pieces - whole).mean() < 0.1**2 * np.square(whole - whole.mean()).mean()


@pytest.mark.parametrize("seconds", [0.4, LENGTH / RATE, (LENGTH + 1) / RATE, 1.05, 2 * LENGTH / RATE, 3.03])
def test_the_published_recipe(seconds: float) -> None:
    """torchaudio's tutorial, written again from its text: linear fades by torchaudio, its loop, its normalisation."""
    sound = noise(seconds, seed=3)
    network = Smooth()
    mix = torch.from_numpy(sound)
    reference = mix.mean(0)
    mix = ((mix - reference.mean()) / reference.std())[None]
    chunk, overlap, length = LENGTH, FADE, mix.shape[-1]
    fade = Fade(fade_in_len=0, fade_out_len=overlap, fade_shape="linear")
    final = torch.zeros(1, 4, 2, length)
    start, end = 0, chunk
    while start < length - overlap or start == 0:
        if end >= length:
            fade.fade_out_len = 0
        final[..., start:end] += fade(network(mix[..., start:end]))
        if start == 0:
            fade.fade_in_len = overlap
            start += chunk - overlap
        else:
            start += chunk
        end += chunk
    final = final * reference.std()
    music = final[0, :3].sum(0).mean(0) + reference.mean()
    separate = separate_music(sound, network, CPU, 1.0, 0.1)
    np.testing.assert_allclose(separate, music.numpy(), rtol=0, atol=1e-6)


def test_silence_stays_silence() -> None:
    assert not separate_music(np.zeros((2, RATE), np.float32), copies, CPU).any()
    assert separate_music(np.zeros((2, 0), np.float32), copies, CPU).shape == (0,)


@pytest.mark.long
def test_the_separator_is_the_published_one(tmp_path: Path) -> None:
    """83.6 M parameters; a file of torchaudio's names and shapes loads, and what comes out is torchaudio's own."""
    published = hdemucs_high(sources=["drums", "bass", "other", "vocals"]).eval()
    assert sum(value.numel() for value in published.parameters()) == 83_639_368
    path = tmp_path / "hdemucs_high_trained.pt"
    torch.save(published.state_dict(), path)
    ours = hybrid_demucs(_separation.CHANNELS, path, 0)
    mix = torch.from_numpy(noise(0.5))[None]
    with torch.inference_mode():
        assert torch.equal(ours(mix), published(mix))
    torch.save({name: value for name, value in published.state_dict().items() if "freq_emb" not in name}, path)
    with pytest.raises(InputError, match=r"missing freq_emb\.embedding\.weight"):
        hybrid_demucs(_separation.CHANNELS, path, 0)


@pytest.fixture(scope="module")
def drawn_network() -> Any:
    """With a small separator, piece by piece of two seconds."""
    config = vggish_music.Config(weights="random", separator_weights="random", channels=4, segment=2.0)
    return vggish_music.build(config, None, 7, "cpu")


@pytest.fixture(scope="module")
def heard_at_once(drawn_network: Any) -> tuple[np.ndarray, np.ndarray]:
    """Rows and times of a sound of 4.5 seconds."""
    return drawn_network(noise(4.5))


@pytest.mark.long
def test_features_are_vggish_of_the_resampled_music(heard_at_once: tuple[np.ndarray, np.ndarray]) -> None:
    features, times = heard_at_once
    sound = noise(4.5)
    separator = hybrid_demucs(4, None, seeds.derive(7, "separator"))
    with torch.inference_mode():
        music = separate_music(sound, separator, CPU, 2.0, 0.1)
    embed = vggish.build(vggish.Config(weights="random"), None, seeds.derive(7, "vggish"), "cpu")
    expected, expected_times = embed(resample(music, 44_100, 16_000))
    assert np.array_equal(features, expected) and np.array_equal(times, expected_times)
    assert len(features) == math.floor(4.5 / 0.96)


@pytest.mark.parametrize("pieces", [1, 1000, 44_100, 100_003])
def test_a_sound_heard_piece_by_piece_gives_the_same_bits(
    drawn_network: Any, heard_at_once: tuple[np.ndarray, np.ndarray], pieces: int
) -> None:
    sound = noise(4.5)
    listening = drawn_network.listen()
    if pieces == 1:  # single samples at the ends
        cuts = [0, 1, 2, sound.shape[1] - 1, sound.shape[1]]
    else:
        cuts = [*range(0, sound.shape[1], pieces), sound.shape[1]]
    for start, stop in itertools.pairwise(cuts):
        listening.feed(sound[:, start:stop])
    features, times = listening.end()
    expected, expected_times = heard_at_once
    assert np.array_equal(features, expected) and np.array_equal(times, expected_times)


def test_no_memory_grows_with_the_length_of_the_sound() -> None:
    """Ten seconds at a time, as the decoder gives them; what is separated is thrown away as it comes."""

    def peak(seconds: int) -> int:
        piece, spool = noise(10), Spool()
        tracemalloc.start()
        for _ in range(seconds // 10):
            spool.write(piece)
        total = sum(len(part) for part in separated(spool.read, spool.samples, copies, CPU, 11.0, 0.1))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        spool.close()
        assert total == seconds * RATE
        return most

    assert peak(180) < 1.1 * peak(60)


def test_left_and_right_are_told_apart_and_one_channel_is_heard_on_both_sides(drawn_network: Any) -> None:
    sound = noise(2.0)
    same = np.stack([sound.mean(0)] * 2)
    assert np.array_equal(drawn_network(sound.mean(0))[0], drawn_network(same)[0])
    assert not np.allclose(drawn_network(sound)[0], drawn_network(same)[0], rtol=1e-3)


def test_drawn_separators_differ_by_seed_alone() -> None:
    torch.manual_seed(1)
    first = hybrid_demucs(4, None, 5).state_dict()
    before = torch.get_rng_state()
    again = hybrid_demucs(4, None, 5).state_dict()
    assert torch.equal(torch.get_rng_state(), before), "the global generator is left alone"
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(
        first["freq_emb.embedding.weight"], hybrid_demucs(4, None, 6).state_dict()["freq_emb.embedding.weight"]
    )
