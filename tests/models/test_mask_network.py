"""The network of the mask estimator: how far it sees, and what it takes for silence."""

import pytest
import torch

from sepdict._core.devices import seeded_generator
from sepdict.models.layers import initialize
from sepdict.models.mask_network import MaskNetwork
from sepdict.spectral.stft import StftConfig

N_BANDS = 33


@pytest.fixture
def mask_network() -> MaskNetwork:
    network = MaskNetwork(2, N_BANDS, 64)
    initialize(network, seeded_generator(0))
    return network.requires_grad_(False)


def test_a_mask_network_sees_160_ms_of_speech(mask_network: MaskNetwork) -> None:
    speech = StftConfig.for_sample_rate(16000)
    bands = torch.rand(N_BANDS, 41, generator=seeded_generator(1)).requires_grad_(True)
    mask_network(bands)[0, :, 20].sum().backward()
    assert bands.grad is not None
    n_seen = int(bands.grad.any(dim=0).sum())
    assert 0.14 <= ((n_seen - 1) * speech.hop_length + speech.n_fft) / 16000 <= 0.18


def test_a_mask_network_hears_what_is_40_db_down_and_not_what_is_80_db_down(mask_network: MaskNetwork) -> None:
    tone = torch.zeros(N_BANDS, 1)
    tone[3] = N_BANDS
    plain, louder, softer = (mask_network(tone + level).exp() for level in (0.0, 1e-2, 1e-4))
    assert 10 * (softer - plain).abs().max() < 0.04 < (louder - plain).abs().max()  # of masks from 0 to 1
