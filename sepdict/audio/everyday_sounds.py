"""Everyday sounds, synthesized at random: examples of what a source is *not*, where nothing is known of the others.

No recording is in them. Each kind is a simple model that looks in a spectrogram like the real thing:

    voice     a gliding pulse train through four moving formants [1]_, and bursts of noise for consonants
    notes     melodies and chords of harmonic tones, plucked or held
    noise     noise of a random spectrum: steady, rising and falling, or interrupted
    drops     showers of short resonances: rain, crackle, applause
    blows     decaying resonances with a burst of noise: drums, knocks, steps
    calls     short motifs of gliding tones: birds, dogs, sirens
    engine    a low hum of many harmonics within noise

Half of them are heard in a room, half through another microphone.

References
----------
.. [1] Klatt, "Software for a cascade/parallel formant synthesizer", J. Acoust. Soc. Am. 67(3), 1980.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sepdict.audio.signal import Audio

Samples = npt.NDArray[np.floating[Any]]
Motif = tuple[float, Samples]  # a pitch in Hz, and how it glides: octaves at four moments

N_SOUNDS = 120
DURATION_S = 4.0
LOWEST_RATE, HIGHEST_RATE = 8000, 48_000  # outside, sounds are played slower or faster: bats are fast birds
TOP = 0.48  # of the sample rate: no partial sounds above it
MAJOR_SCALE, ALL_KEYS = (0, 2, 4, 5, 7, 9, 11), tuple(range(12))  # in semitones
FORMANTS_HZ = ((280, 850), (800, 2500), (2200, 3300), (3300, 4500))
FORMANT_LEVELS = (1.0, 0.7, 0.4, 0.25)


def everyday_sounds(sample_rate: int, *, n_sounds: int = N_SOUNDS, seed: int = 0) -> Iterator[Audio]:
    """Synthesize sounds of all kinds, one after the other.

    Parameters
    ----------
    sample_rate : int
        In Hz. Below 8 kHz and above 48 kHz the same sounds are played slower or faster.
    n_sounds : int
    seed : int
        The same seed gives the same sounds.

    Yields
    ------
    Audio
        Mono, four seconds (of those that are played slower or faster, before that), with a peak of 1.

    Examples
    --------
    >>> [sound.samples.shape for sound in everyday_sounds(8000, n_sounds=2)]
    [torch.Size([1, 32000]), torch.Size([1, 32000])]
    """
    shares = np.array(list(KINDS.values()))
    for index in range(n_sounds):
        random = np.random.default_rng([seed, index])
        studio = _Studio(random, _rendered_rate(sample_rate), n_everyday_samples(sample_rate))
        kind = list(KINDS)[studio.random.choice(len(KINDS), p=shares / shares.sum())]
        samples = _peaked(studio.recorded(kind(studio)))
        yield Audio(torch.from_numpy(samples).float()[None], sample_rate, f"everyday sound {index + 1}")


def n_everyday_samples(sample_rate: int) -> int:
    """Count the samples of each sound."""
    return round(DURATION_S * _rendered_rate(sample_rate))


def _rendered_rate(sample_rate: int) -> int:
    """Return the rate at which sounds are rendered, from which they are played slower or faster."""
    return min(max(sample_rate, LOWEST_RATE), HIGHEST_RATE)


@dataclass(frozen=True)
class _Studio:
    """What all kinds are made with: chance, and a canvas of samples."""

    random: np.random.Generator
    sample_rate: int
    n_samples: int

    def chance(self, share: float) -> bool:
        """Return True that often."""
        return bool(self.random.random() < share)

    def between(self, low: float, high: float) -> float:
        """Draw a number, all equally likely."""
        return float(self.random.uniform(low, high))

    def scaled(self, low: float, high: float) -> float:
        """Draw a positive number, all orders of magnitude equally likely."""
        return math.exp(self.random.uniform(math.log(low), math.log(high)))

    def noise(self, n_samples: int) -> Samples:
        """Return white noise."""
        return self.random.standard_normal(n_samples)

    def drift(self, per_second: float, deviation: float) -> Samples:
        """Return a curve that wanders around zero, with so many turns a second."""
        n_points = max(4, round(self.n_samples / self.sample_rate * per_second))
        points = deviation * self.random.standard_normal(n_points)
        return np.interp(np.linspace(0, n_points - 1, self.n_samples), np.arange(n_points), points)

    def body(self, tilt_db: tuple[float, float], n_most_peaks: int = 4) -> Callable[[Samples], Samples]:
        """Draw a frequency response: a slope in dB per octave, and some peaks and dips."""
        slope = self.between(*tilt_db)
        peaks = [
            (self.between(-15, 20), self.between(-3, 4.5), self.between(0.1, 1))
            for _ in range(self.random.integers(1, n_most_peaks + 1))
        ]

        def response(hz: Samples) -> Samples:
            octave = np.log2(np.maximum(hz, 20) / 500)
            level_db = slope * np.maximum(octave, -2)
            for height_db, center, width in peaks:
                level_db = level_db + height_db * np.exp(-0.5 * ((octave - center) / width) ** 2)
            return np.asarray(10 ** (level_db / 20))

        return response

    def filtered(self, samples: Samples, response: Callable[[Samples], Samples]) -> Samples:
        """Apply a frequency response."""
        hz = np.fft.rfftfreq(len(samples), 1 / self.sample_rate)
        filtered: Samples = np.fft.irfft(np.fft.rfft(samples) * response(hz), len(samples))
        return filtered

    def colored(self, envelope: Samples, tilt_db: tuple[float, float] = (-12, 0)) -> Samples:
        """Return noise of an envelope and a random spectrum, with a peak of 1."""
        return _peaked(self.filtered(self.noise(len(envelope)) * envelope, self.body(tilt_db)))

    def syllables(self, per_second: float, duty: float) -> tuple[Samples, list[slice]]:
        """Draw when something sounds: an envelope, and the span of every syllable."""
        envelope, spans, start = np.zeros(self.n_samples), list[slice](), self.between(0, 0.2)
        while start < self.n_samples / self.sample_rate:
            length = self.between(0.5, 1.5) / per_second
            first = round(start * self.sample_rate)
            last = min(self.n_samples, round((start + length * duty) * self.sample_rate))
            if self.chance(0.85) and last - first > 20:
                envelope[first:last] += np.hanning(last - first) ** 0.5 * self.scaled(0.3, 1)
                spans.append(slice(first, last))
            start += length * (1 if self.chance(0.85) else self.between(1.5, 4))  # now and then a pause
        return envelope, spans

    def harmonics(self, pitch_hz: Samples, n_most: int, level: Callable[[int, Samples], Samples | float]) -> Samples:
        """Sum the harmonics of a gliding pitch; ``level(n, hz)`` is that of the n-th."""
        turn = np.exp(2j * math.pi * np.cumsum(pitch_hz) / self.sample_rate)
        partial, total = np.ones_like(turn), np.zeros(len(pitch_hz))
        for n in range(1, n_most + 1):
            partial = partial * turn
            hz = n * pitch_hz
            if hz.min() > TOP * self.sample_rate:
                break
            total += level(n, hz) * (hz < TOP * self.sample_rate) * partial.imag
        return total

    def recorded(self, samples: Samples) -> Samples:
        """Add the reverberation of a room, or a microphone's response, or both, or neither."""
        if self.chance(0.5):
            n_tail = round(self.scaled(0.1, 1.2) * self.sample_rate)
            tail = self.noise(n_tail) * np.exp(-6.9 * np.arange(n_tail) / n_tail)  # to -60 dB
            tail *= self.scaled(0.05, 0.7) / np.sqrt(np.square(tail).sum())
            samples = samples + _convolved(samples, tail)
        return self.filtered(samples, self.body((-3, 3), 2)) if self.chance(0.5) else samples


def _voice(studio: _Studio) -> Samples:
    envelope, spans = studio.syllables(studio.between(2.5, 6), studio.between(0.7, 1))
    pitch = studio.scaled(80, 350) * 2 ** (studio.drift(4, 0.15) + studio.drift(1, 0.15))
    middles = [(span.start + span.stop) / 2 for span in spans] or [0]
    length, slope = studio.scaled(0.85, 1.25), studio.between(0.6, 1.6)  # of the vocal tract; of the pulses' spectrum
    every = np.arange(0, studio.n_samples, 64)  # formants move slowly
    formants = [
        (length * np.interp(every, middles, [studio.scaled(*limits) for _ in middles]), studio.between(60, 250), level)
        for limits, level in zip(FORMANTS_HZ, FORMANT_LEVELS, strict=True)
    ]

    def level(n: int, hz: Samples) -> Samples:
        total: Samples = np.full(len(every), 0.02)
        for center, width, height in formants:
            total += height / (1 + ((hz[every] - center) / width) ** 2) ** 0.75
        spread: Samples = np.interp(np.arange(studio.n_samples), every, total * n**-slope)
        return spread

    voiced = _peaked(envelope * studio.harmonics(pitch, 80, level))
    breath = studio.colored(envelope, (-6, 3))
    spoken: Samples = (
        voiced + studio.scaled(0.003, 0.1) * breath + studio.scaled(0.05, 0.5) * _consonants(studio, spans)
    )
    return spoken


def _consonants(studio: _Studio, spans: list[slice]) -> Samples:
    """Put a burst of noise before more than half of the syllables."""
    samples = np.zeros(studio.n_samples)
    for span in spans:
        first = max(0, span.start - round(studio.scaled(0.015, 0.15) * studio.sample_rate))
        if studio.chance(0.6) and span.start - first > 20:
            burst = studio.noise(span.start - first) * np.hanning(span.start - first)
            hiss = studio.filtered(burst, _band(studio.scaled(1200, 8000), studio.between(0.3, 1)))
            samples[first : span.start] += studio.scaled(0.1, 1) * _peaked(hiss)
    return samples


def _band(center_hz: float, width_octaves: float) -> Callable[[Samples], Samples]:
    """Return the frequency response of a bell around a frequency."""

    def response(hz: Samples) -> Samples:
        octaves = np.log2(np.maximum(hz, 20) / center_hz)
        return np.asarray(np.exp(-0.5 * (octaves / width_octaves) ** 2))

    return response


def _notes(studio: _Studio) -> Samples:
    lowest, per_second, n_voices = studio.scaled(50, 1200), studio.scaled(1, 8), int(studio.random.integers(1, 4))
    scale = MAJOR_SCALE if studio.chance(0.6) else ALL_KEYS
    play, samples = _instrument(studio), np.zeros(studio.n_samples)
    for _ in range(n_voices):
        start = 0.0
        while start < studio.n_samples / studio.sample_rate:
            length = studio.between(0.4, 1.6) / per_second * n_voices**0.5
            first = round(start * studio.sample_rate)
            start += length
            if studio.chance(0.88):
                semitones = int(studio.random.choice(scale)) + 12 * int(studio.random.integers(3))
                note = studio.scaled(0.3, 1) * play(lowest * 2 ** (semitones / 12), length)[: studio.n_samples - first]
                samples[first : first + len(note)] += note
    return _peaked(samples) + (studio.scaled(1e-3, 0.03) if studio.chance(0.5) else 0) * studio.colored(
        np.ones(studio.n_samples)
    )


def _instrument(studio: _Studio) -> Callable[[float, float], Samples]:
    """Draw an instrument: a function of a note's pitch in Hz and its length in seconds."""
    is_plucked, slope, body = studio.chance(0.5), studio.between(0.5, 2.2), studio.body((-3, 3))
    even = studio.between(0, 1) if studio.chance(0.3) else 1.0  # level of the even harmonics
    attack_s, decay_s = studio.scaled(0.002, 0.08), studio.scaled(0.1, 2)
    vibrato, vibrato_hz = (0.0 if is_plucked else studio.between(0, 0.02)), studio.between(4, 7)

    def play(pitch_hz: float, length_s: float) -> Samples:
        t = np.arange(round((length_s + (decay_s if is_plucked else 0.1)) * studio.sample_rate)) / studio.sample_rate
        envelope = np.minimum(1, t / attack_s) * (1 if is_plucked else np.clip((length_s + 0.1 - t) / 0.1, 0, 1))

        def level(n: int, hz: Samples) -> Samples:
            gain = n**-slope * float(body(hz[:1])[0]) * (even if n % 2 == 0 else 1)
            fall: Samples = np.exp(-t / decay_s * (1 + 0.3 * n)) if is_plucked else np.ones_like(t)
            faded: Samples = gain * fall
            return faded

        pitch = pitch_hz * (1 + vibrato * np.sin(2 * math.pi * vibrato_hz * t))
        note: Samples = envelope * studio.harmonics(pitch, 40, level)
        return note

    return play


def _noise(studio: _Studio) -> Samples:
    envelope: Samples = np.ones(studio.n_samples)
    manner = studio.random.integers(3)
    if manner == 1:
        envelope = np.exp(studio.drift(studio.scaled(1, 20), studio.between(0.2, 0.8)))
    elif manner == 2:
        envelope = studio.syllables(studio.scaled(1, 10), studio.between(0.3, 0.9))[0] + studio.scaled(0.003, 0.1)
    return envelope * studio.colored(np.ones(studio.n_samples), (-9, 3))


def _drops(studio: _Studio) -> Samples:
    fall = studio.random.random(studio.n_samples) < studio.scaled(30, 5000) / studio.sample_rate
    loudness = np.exp(studio.between(0.3, 1.2) * studio.noise(studio.n_samples))
    t = np.arange(round(0.03 * studio.sample_rate)) / studio.sample_rate
    ring = np.zeros(len(t))
    for _ in range(studio.random.integers(1, 6)):
        hz = studio.scaled(300, min(12_000, 0.45 * studio.sample_rate))
        ring += np.exp(-t / studio.scaled(5e-4, 8e-3)) * np.sin(2 * math.pi * hz * t)
    return studio.filtered(_convolved(studio.noise(studio.n_samples) * fall * loudness, ring), studio.body((-6, 3)))


def _blows(studio: _Studio) -> Samples:
    blows = [_blow(studio) for _ in range(studio.random.integers(1, 4))]
    samples, start, per_second = np.zeros(studio.n_samples), studio.between(0, 0.3), studio.scaled(0.7, 10)
    while start < studio.n_samples / studio.sample_rate:
        first = round(start * studio.sample_rate)
        blow = blows[studio.random.integers(len(blows))][: studio.n_samples - first]
        samples[first : first + len(blow)] += studio.scaled(0.2, 1) * blow
        start += studio.between(0.5, 1.5) / per_second
    return samples


def _blow(studio: _Studio) -> Samples:
    """Render one blow: some resonances, whose pitch falls at first, and a burst of noise."""
    t = np.arange(round(studio.scaled(0.03, 1.2) * studio.sample_rate)) / studio.sample_rate
    decay_s, lowest, samples = studio.scaled(0.01, 0.4), studio.scaled(60, 3000), np.zeros(len(t))
    for _ in range(studio.random.integers(0, 15)):
        hz = lowest * studio.scaled(1, 12)
        if hz < TOP * studio.sample_rate:
            fall = np.exp(-t / (decay_s * studio.scaled(0.3, 1)))
            samples += studio.scaled(0.05, 1) * fall * np.sin(2 * math.pi * hz * t * (1 + 0.02 * np.exp(-t / 0.02)))
    burst = studio.colored(np.ones(len(t)), (-6, 6)) * np.exp(-t / (decay_s * studio.scaled(0.05, 0.7)))
    return _peaked(samples) + studio.scaled(0.05, 3) * burst


def _calls(studio: _Studio) -> Samples:
    lowest, range_octaves, slope = studio.scaled(150, 7000), studio.between(0.1, 1.2), studio.between(0.5, 2.5)
    envelope, spans = studio.syllables(studio.scaled(0.8, 12), studio.between(0.2, 0.9))
    body, is_rough, is_low = studio.body((-3, 3)), studio.chance(0.3), lowest < 1200
    n_most = int(studio.random.integers(5, 25) if is_low else studio.random.integers(1, 8))
    motifs: list[Motif] = [
        (lowest * studio.scaled(0.7, 1.4), 0.5 * range_octaves * studio.noise(4))
        for _ in range(studio.random.integers(1, 5))
    ]
    samples = np.zeros(studio.n_samples)
    for span in spans:
        pitch_hz, octaves = motifs[studio.random.integers(len(motifs))]
        n_samples = span.stop - span.start
        glide = pitch_hz * 2 ** np.interp(np.linspace(0, 3, n_samples), np.arange(4), octaves)
        glide = np.clip(glide, 60, 0.45 * studio.sample_rate)
        if is_rough:
            glide = glide * (1 + 0.03 * np.repeat(studio.noise(n_samples // 8 + 1), 8)[:n_samples])
        samples[span] = studio.harmonics(glide, n_most, lambda n, hz: n**-slope * float(body(hz[:1])[0]))
    breath = studio.scaled(1e-3, 0.3 if is_low else 0.02)
    return _peaked(samples * envelope) + breath * studio.colored(envelope)


def _engine(studio: _Studio) -> Samples:
    pitch = studio.scaled(20, 300) * 2 ** studio.drift(1, studio.scaled(0.002, 0.3))
    body, slope, levels = studio.body((-6, 3)), studio.between(0, 1.5), [studio.scaled(0.1, 1) for _ in range(121)]
    hum = studio.harmonics(pitch, 120, lambda n, hz: levels[n] * n**-slope * float(body(hz[:1])[0]))
    turns = 2 * math.pi * np.cumsum(pitch) / studio.sample_rate / int(studio.random.integers(1, 4))
    pulse = np.exp(studio.between(0, 0.7) * np.sin(turns))
    return _peaked(hum) + studio.scaled(0.01, 2) * pulse * studio.colored(np.ones(studio.n_samples), (-9, 0))


KINDS: dict[Callable[[_Studio], Samples], float] = {  # and how often each is drawn
    _voice: 0.25,
    _notes: 0.25,
    _noise: 0.12,
    _drops: 0.08,
    _blows: 0.1,
    _calls: 0.12,
    _engine: 0.08,
}


def _peaked(samples: Samples) -> Samples:
    """Scale to a peak of 1; silence stays silent."""
    return samples / max(float(np.abs(samples).max(initial=0)), 1e-9)


def _convolved(samples: Samples, response: Samples) -> Samples:
    """Convolve, and keep the length of the samples."""
    n_fft = 2 ** math.ceil(math.log2(len(samples) + len(response)))
    convolved: Samples = np.fft.irfft(np.fft.rfft(samples, n_fft) * np.fft.rfft(response, n_fft), n_fft)
    return convolved[: len(samples)]
