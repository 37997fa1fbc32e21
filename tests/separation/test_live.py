"""Laws of the separation of streams."""

import functools
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sepdict.audio.signal import Audio
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.errors import ConfigError, ShapeError
from sepdict.evaluation.metrics import si_sdr
from sepdict.models.layers import initialize
from sepdict.models.mask_network import MaskNetwork
from sepdict.models.network_config import NetworkConfig
from sepdict.separation.config import MaskEstimatorConfig
from sepdict.separation.live import LiveSeparator, open_live
from sepdict.separation.streamed_network import StreamedMaskNetwork
from sepdict.spectral.stft import StftConfig
from sepdict.training.config import TrainingConfig
from sepdict.training.train import train_dictionary

RATE = 8000
WINDOWS = [StftConfig(256, 64), StftConfig(250, 60, "hamming"), StftConfig(128, 64, "blackman")]
BRIEF = MaskEstimatorConfig(n_steps=60, width=32)


def hiss(*, n_channels: int = 1, seed: int = 0) -> torch.Tensor:
    noise = 0.1 * torch.randn(n_channels, 2 * RATE, generator=torch.Generator().manual_seed(seed))
    return noise.diff(dim=1, prepend=noise[:, :1])


@functools.cache
def dictionary(source: str, stft: StftConfig) -> Dictionary:
    tiny = TrainingConfig(network=NetworkConfig(code_size=2, hidden=(8,)), stft=stft, n_steps=20, n_checks=2)
    return train_dictionary(Audio(hum() if source == "hum" else hiss(), RATE), tiny, source=source)


def hum(*, seed: int = 0) -> torch.Tensor:
    phase = torch.rand(1, generator=torch.Generator().manual_seed(seed)) * 6
    time_s = torch.arange(2 * RATE) / RATE
    return (torch.sin(2 * torch.pi * 300 * time_s + phase) + torch.sin(2 * torch.pi * 500 * time_s))[None] / 4


def opened(keep: Sequence[str], *, n_channels: int = 1, stft: StftConfig = WINDOWS[0]) -> LiveSeparator:
    dictionaries = [dictionary(source, stft) for source in ("hiss", "hum")]
    return open_live(dictionaries, keep=keep, n_channels=n_channels, config=BRIEF)


def through(live: LiveSeparator, samples: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(live.process_whole(samples.numpy()))


@pytest.mark.parametrize("stft", WINDOWS)
def test_what_is_kept_whole_comes_out_as_it_went_in_a_window_later(stft: StftConfig) -> None:
    stereo = hiss(n_channels=2) + 0.2  # with an offset
    kept = through(opened(["hiss", "hum"], n_channels=2, stft=stft), stereo)
    torch.testing.assert_close(kept, stereo, rtol=0, atol=2e-6)


def test_what_is_kept_and_what_is_not_sum_to_the_stream() -> None:
    mixture = hiss() + hum() + 0.1
    parts = [through(opened([source]), mixture) for source in ("hiss", "hum")]
    torch.testing.assert_close(parts[0] + parts[1], mixture, rtol=0, atol=2e-6)


def test_a_kept_source_is_nearer_to_itself_than_the_mixture_is() -> None:
    wanted, other = hum(seed=5), hiss(seed=5)
    before = si_sdr(wanted + other, wanted)
    assert float(si_sdr(through(opened(["hum"]), wanted + other), wanted) - before) > 8  # dB; 12 measured


def test_channels_do_not_hear_each_other() -> None:
    left, right = hiss(seed=1) + hum(seed=1), hum(seed=2)
    together = through(opened(["hum"], n_channels=2), torch.cat([left, right]))
    alone = torch.cat([through(opened(["hum"]), each) for each in (left, right)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def test_the_level_does_not_matter() -> None:
    mixture = hiss() + hum()
    soft = through(opened(["hum"]), mixture / 1024) * 1024
    torch.testing.assert_close(soft, through(opened(["hum"]), mixture), rtol=0, atol=1e-5)


def test_an_offset_goes_in_slow_shares_and_changes_nothing_else() -> None:
    mixture, stft = hiss() + hum(), StftConfig(512, 128)  # the window spreads an offset over two bins
    kept = through(opened(["hum"], stft=stft), mixture)
    more = through(opened(["hum"], stft=stft), mixture + 0.5) - kept
    settled = more[:, RATE // 2 : -1024]
    assert float(settled.diff().abs().max()) < 1e-3
    assert 0 < float(settled.min()) <= float(settled.max()) < 0.5


def test_silence_stays_silent() -> None:
    assert not through(opened(["hum"]), torch.zeros(1, RATE)).any()


def test_broken_samples_are_counted_taken_for_silence_and_soon_forgotten() -> None:
    mixture = hiss() + hum()
    broken = mixture.clone()
    broken[0, RATE : RATE + 3] = torch.tensor([torch.nan, torch.inf, -torch.inf])
    broken[0, RATE + 5] = 1e30
    live = opened(["hum"])
    kept = through(live, broken)
    assert live.n_not_finite == 3
    assert kept.isfinite().all()
    torch.testing.assert_close(kept[:, : RATE - 256], through(opened(["hum"]), mixture)[:, : RATE - 256])
    assert float((kept - mixture)[:, RATE + 1024 :].abs().max()) < 1


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("n_ahead", [0, 1, 3])
def test_a_streamed_network_gives_the_masks_of_the_whole(n_ahead: int, n_channels: int) -> None:
    generator = torch.Generator().manual_seed(0)
    network = MaskNetwork(3, 20, 16, n_ahead=n_ahead).requires_grad_(False)
    initialize(network, generator)
    bands = torch.rand(n_channels, 20, 40, generator=generator).square()
    bands[..., 5] = 0
    streamed = StreamedMaskNetwork(network, n_channels)
    frames = [streamed.masks_of(bands[..., frame].contiguous().numpy()).copy() for frame in range(40)]
    masks = torch.from_numpy(np.stack(frames[n_ahead:], axis=-1))  # (n_sources, n_channels, n_bands, n_frames)
    whole = network(bands).exp().movedim(1, 0)[..., : 40 - n_ahead]
    torch.testing.assert_close(masks, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("n_ahead", [0, 1, 3])
def test_a_network_sees_as_far_ahead_as_it_may(n_ahead: int) -> None:
    network = MaskNetwork(2, 20, 16, n_ahead=n_ahead).requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    initialize(network, generator)
    bands = torch.rand(20, 30, generator=generator)
    changed = bands.clone()
    changed[:, 15] = torch.rand(20, generator=generator)
    differs = (network(bands) - network(changed)).abs().amax(dim=(0, 1)) > 1e-6
    assert differs.nonzero().flatten().tolist() == list(range(15 - n_ahead, 22 - n_ahead))


@pytest.mark.parametrize("n_ahead", [0, 1])
def test_a_stream_waits_a_window_and_for_the_frames_ahead(n_ahead: int) -> None:
    dictionaries = [dictionary(source, WINDOWS[0]) for source in ("hiss", "hum")]
    live = open_live(dictionaries, keep=["hum", "hiss"], config=replace(BRIEF, n_ahead=n_ahead))
    assert live.n_delayed == 256 + 64 * n_ahead
    torch.testing.assert_close(through(live, hum()), hum(), rtol=0, atol=2e-6)


def test_blocks_take_no_memory() -> None:
    live = opened(["hum"])
    blocks: list[NDArray[np.float32]] = list(torch.randn(60, 1, live.hop_length).numpy())
    tracemalloc.start()
    try:
        for block in blocks[:10]:
            live.process(block)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for block in blocks[10:]:
            live.process(block)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 2**15  # bytes that transforms and sums borrow for a moment
    assert after - before < 2**10


@pytest.mark.slow
def test_a_single_dictionary_leaves_the_rest() -> None:
    live = open_live([dictionary("hum", WINDOWS[0])], keep=["residual"], config=MaskEstimatorConfig(n_steps=5, width=8))
    assert live.process(np.zeros((1, 64), dtype=np.float32)).shape == (1, 64)


def test_a_name_that_is_spelled_in_another_form_of_unicode_is_the_same() -> None:
    flute = dictionary("hum", WINDOWS[0])
    flute = Dictionary(replace(flute.card, source="Fl\u00f6te"), flute.network, flute.exemplars)
    quick = MaskEstimatorConfig(n_steps=5, width=8)
    live = open_live([flute, dictionary("hiss", WINDOWS[0])], keep=["Flo\u0308te"], config=quick)
    assert through(live, hum()).any()


def test_input_is_not_written_into() -> None:
    block = torch.randn(1, 64).numpy()
    before = block.copy()
    live = opened(["hum"])
    live.process(block)
    live.process_whole(block)
    np.testing.assert_array_equal(block, before)


def test_what_cannot_be_kept_is_refused() -> None:
    for keep in ([], ["rain"], ["hum", "residual"]):
        with pytest.raises(ConfigError, match="expected one or more of hiss, hum"):
            opened(keep)
    with pytest.raises(ConfigError, match="n_channels is 0; expected 1 or more"):
        opened(["hum"], n_channels=0)
    with pytest.raises(ShapeError, match=r"the samples have shape \(2, 8\); expected \(1, n_samples\)"):
        opened(["hum"]).process_whole(np.zeros((2, 8), dtype=np.float32))
    with pytest.raises(ShapeError, match=r"the block has shape \(64,\); expected \(1, 64\)"):
        opened(["hum"]).process(np.zeros(64, dtype=np.float32))
