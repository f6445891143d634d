"""VGGish's published post-processing: whitening by hand, quantisation by its formula."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from utopia.errors import InputError
from utopia.extractors import vggish
from utopia.features import cards


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A file of the published names and shapes."""
    generator = torch.Generator().manual_seed(0)
    path = tmp_path / "vggish_pca_params-970ea276.pth"
    means = torch.randn(128, 1, generator=generator)
    torch.save({"pca_eigen_vectors": torch.randn(128, 128, generator=generator) / 20, "pca_means": means}, path)
    return path


def test_whitening_and_quantisation_by_their_formulas(published: Path) -> None:
    state = torch.load(published, weights_only=True)
    rows = np.random.default_rng(0).normal(size=(5, 128)).astype(np.float32)
    vectors, means = state["pca_eigen_vectors"].numpy().astype(float), state["pca_means"].numpy().astype(float)
    expected = np.array([[sum(vectors[k] * (row - means[:, 0])) for k in range(128)] for row in rows])
    assert vggish.Whitening(published, False)(rows) == pytest.approx(expected, abs=1e-5)
    whole = vggish.Whitening(published, True)(rows)
    assert whole.dtype == np.float32 and (whole == np.rint(whole)).all() and whole.min() >= 0 and whole.max() <= 255
    assert whole == pytest.approx(np.rint((np.clip(expected, -2, 2) + 2) * 63.75))


def test_the_network_applies_it_to_what_it_gives_raw(published: Path) -> None:
    sound = np.random.default_rng(1).normal(0, 0.1, 16_000 * 3).astype(np.float32)
    config = vggish.Config(weights="random", pca_weights="vggish_pca")
    raw, times = vggish.build(vggish.Config(weights="random"), None, 3, "cpu")(sound)
    white, again = vggish.build(config, None, 3, "cpu", pca_weights=published)(sound)
    assert np.array_equal(times, again)
    assert white == pytest.approx(vggish.Whitening(published, False)(raw), abs=1e-6)
    assert cards.chosen(config) == {"weights": "random", "pca_weights": "vggish_pca"}
    assert cards.chosen(vggish.Config()) == {"weights": "vggish_audioset"}


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"pca_eigen_vectors": torch.zeros(3, 3)}, path)
    with pytest.raises(InputError, match="not VGGish's PCA"):
        vggish.Whitening(path, False)


def test_quantisation_needs_whitening() -> None:
    with pytest.raises(ValueError, match="needs pca_weights"):
        vggish.Config(quantise=True)
