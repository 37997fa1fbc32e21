"""Laws of what a dictionary remembers."""

import pytest
import torch
from torch import Tensor

from sepdict.dictionaries.exemplars import PASSAGE_FRAMES, decode_exemplars, encode_exemplars
from sepdict.spectral.bands import to_bands


@pytest.fixture
def spectrum(generator: torch.Generator) -> Tensor:
    """Magnitudes over some 100 dB, (n_bins, n_frames)."""
    return 10 ** (-5 * torch.rand(513, 200, generator=generator))


def test_exemplars_are_true_to_a_quarter_of_a_decibel(spectrum: Tensor) -> None:
    bands = to_bands(spectrum)
    error_db = 20 * torch.log10(decode_exemplars(encode_exemplars(spectrum, n_most_frames=10**6)) * bands.max() / bands)
    assert error_db.abs().max() < 0.2501


def test_exemplars_keep_no_level(spectrum: Tensor) -> None:
    assert torch.equal(
        encode_exemplars(spectrum, n_most_frames=200), encode_exemplars(spectrum * 1024, n_most_frames=200)
    )


def test_silence_is_kept_as_the_softest_there_is(spectrum: Tensor) -> None:
    spectrum[:, 3] = 0
    exemplars = encode_exemplars(spectrum, n_most_frames=200)
    assert (exemplars[:, 3] == 255).all()


def test_long_exemplars_keep_passages_from_beginning_to_end() -> None:
    ramp = torch.linspace(0.5, 1, 100 * PASSAGE_FRAMES).expand(33, -1)
    exemplars = encode_exemplars(ramp, n_most_frames=10 * PASSAGE_FRAMES + 5)
    assert exemplars.shape == (33, 10 * PASSAGE_FRAMES)
    remembered = decode_exemplars(exemplars)[0]
    assert float(remembered[0] / remembered[-1]) == pytest.approx(0.5 / 0.953, rel=0.04)  # from 0 % to 90.6 %


@pytest.mark.parametrize("n_frames", [0, 10])
def test_without_room_no_frame_is_kept(n_frames: int) -> None:
    assert encode_exemplars(torch.rand(33, n_frames), n_most_frames=0).shape == (33, 0)


@pytest.mark.parametrize("n_frames", [1, 20, PASSAGE_FRAMES, PASSAGE_FRAMES + 20])
def test_where_there_is_room_every_frame_is_kept(n_frames: int) -> None:
    assert encode_exemplars(torch.rand(33, n_frames), n_most_frames=n_frames).shape == (33, n_frames)
