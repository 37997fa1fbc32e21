"""Laws of bands."""

import pytest
import torch
from torch import Tensor

from sepdict.spectral.bands import band_edges, band_sums, band_widths, n_bands, to_bands, to_bins


@pytest.fixture
def spectrum(generator: torch.Generator) -> Tensor:
    """Magnitudes over some 100 dB, (n_bins, n_frames)."""
    return 10 ** (-5 * torch.rand(513, 200, generator=generator))


@pytest.mark.parametrize("widening", [1.01, 1.02])
@pytest.mark.parametrize("n_bins", [3, 99, 100, 101, 513, 2049, 65537])
def test_every_bin_is_in_one_band_and_no_band_is_wider_than_a_share_of_its_beginning(
    n_bins: int, widening: float
) -> None:
    widths = band_widths(n_bins, widening)
    assert len(widths) == len(band_edges(n_bins, widening)) - 1
    assert int(widths.sum()) == n_bins
    assert int(widths.min()) == 1
    first_bins = widths.cumsum(0) - widths
    assert (widths <= ((widening - 1) * first_bins + 1e-3).clamp(min=1)).all()


def test_the_bands_of_memories_stay_as_files_have_them() -> None:
    assert [n_bands(n_bins) for n_bins in (100, 513, 4097)] == [100, 194, 301]


def test_sums_over_bands_add_up_to_the_whole(spectrum: Tensor) -> None:
    sums = band_sums(spectrum, 1.01)
    assert torch.allclose(sums.sum(0), spectrum.sum(0), rtol=1e-5)
    assert torch.equal(sums[:101], spectrum[:101])  # single bins at the bottom


def test_bands_keep_the_energy(spectrum: Tensor) -> None:
    widths = band_widths(513)[:, None]
    assert torch.allclose((widths * to_bands(spectrum).square()).sum(0), spectrum.square().sum(0), rtol=1e-5)


def test_what_is_the_same_in_a_band_comes_back_from_it(spectrum: Tensor) -> None:
    bands = spectrum[: n_bands(513)]
    assert torch.allclose(to_bands(to_bins(bands, 513)), bands, rtol=1e-5)


def test_bands_of_many_channels_are_those_of_each(spectrum: Tensor) -> None:
    channels = torch.stack([spectrum, spectrum.flip(1)])
    assert torch.equal(to_bands(channels)[1], to_bands(spectrum.flip(1)))
