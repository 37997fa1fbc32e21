"""Laws of what a dictionary remembers."""

import pytest
import torch
from torch import Tensor

from sepdict.memory import PASSAGE_FRAMES, band_widths, n_bands, recall, remember, to_bands, to_bins


@pytest.fixture
def spectrum(generator: torch.Generator) -> Tensor:
    """Magnitudes over some 100 dB, (n_bins, n_frames)."""
    return 10 ** (-5 * torch.rand(513, 200, generator=generator))


@pytest.mark.parametrize("n_bins", [3, 99, 100, 101, 513, 2049, 65537])
def test_every_bin_is_in_one_band_and_no_band_is_much_wider_than_a_fiftieth(n_bins: int) -> None:
    widths = band_widths(n_bins)
    assert len(widths) == n_bands(n_bins)
    assert int(widths.sum()) == n_bins
    assert int(widths.min()) == 1
    first_bins = widths.cumsum(0) - widths
    assert (widths <= (0.02 * first_bins).clamp(min=1)).all()


def test_bands_keep_the_energy(spectrum: Tensor) -> None:
    widths = band_widths(513)[:, None]
    assert torch.allclose((widths * to_bands(spectrum).square()).sum(0), spectrum.square().sum(0), rtol=1e-5)


def test_what_is_the_same_in_a_band_comes_back_from_it(spectrum: Tensor) -> None:
    bands = spectrum[: n_bands(513)]
    assert torch.allclose(to_bands(to_bins(bands, 513)), bands, rtol=1e-5)


def test_bands_of_many_channels_are_those_of_each(spectrum: Tensor) -> None:
    channels = torch.stack([spectrum, spectrum.flip(1)])
    assert torch.equal(to_bands(channels)[1], to_bands(spectrum.flip(1)))


def test_a_memory_is_true_to_a_quarter_of_a_decibel(spectrum: Tensor) -> None:
    bands = to_bands(spectrum)
    error_db = 20 * torch.log10(recall(remember(spectrum, n_most_frames=10**6)) * bands.max() / bands)
    assert error_db.abs().max() < 0.2501


def test_a_memory_forgets_the_level(spectrum: Tensor) -> None:
    assert torch.equal(remember(spectrum, n_most_frames=200), remember(spectrum * 1024, n_most_frames=200))


def test_silence_is_remembered_as_the_softest_there_is(spectrum: Tensor) -> None:
    spectrum[:, 3] = 0
    memory = remember(spectrum, n_most_frames=200)
    assert (memory[:, 3] == 255).all()


def test_a_long_memory_keeps_passages_from_beginning_to_end() -> None:
    ramp = torch.linspace(0.5, 1, 100 * PASSAGE_FRAMES).expand(33, -1)
    memory = remember(ramp, n_most_frames=10 * PASSAGE_FRAMES + 5)
    assert memory.shape == (33, 10 * PASSAGE_FRAMES)
    remembered = recall(memory)[0]
    assert float(remembered[0] / remembered[-1]) == pytest.approx(0.5 / 0.953, rel=0.04)  # from 0 % to 90.6 %


@pytest.mark.parametrize("n_frames", [0, 10])
def test_without_room_nothing_is_remembered(n_frames: int) -> None:
    assert remember(torch.rand(33, n_frames), n_most_frames=0).shape == (33, 0)
