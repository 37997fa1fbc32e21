"""Practice a duet: take it apart, then play along with your own part turned down.

Run it with ``uv run python docs/tutorials/musician.py OUT``.
The folder OUT gets the stems and the mix to play along with.
"""

# %% The settings
# In a notebook, put your own two folders here.
import sys
from pathlib import Path

import torch

from sepdict import Audio, evaluate, read_audio, separate, train_dictionary, write_audio

DATA = Path(__file__).parents[2] / "data"
OUT = Path(*sys.argv[1:2] or ["musician"])

MY_PART = "violin"
SOFTER_DB = 12.0  # how far my part goes down: it is still there to lean on, and soft enough to play over

# %% A dictionary of each instrument
# The demo's dictionaries are in the folder data. A missing one is trained from solos, which takes about a minute. For
# your own, record a few minutes of each instrument alone: scales, and pieces other than the one that you practice.
dictionaries = []
for source in ["violin", "piano"]:
    file = DATA / f"{source}.safetensors"
    if not file.exists():
        print(f"training the {source} ...")
        train_dictionary(DATA / "solos" / source, source=source).save(file)
    dictionaries.append(file)

# %% Take the duet apart
# The first time, a network learns to tell the two sources apart. That takes a minute or two; the result is kept.
mixture = read_audio(DATA / "duet.flac")
print(f"separating {mixture.duration_s:.1f} s of {mixture.name} ...")
separation = separate(mixture, dictionaries)

# %% The stems, and music minus one
# The stems sum to the mixture, sample for sample. The sum of all stems with one turned down is therefore the mixture
# with that part turned down. What this stem has wrongly taken from the others also gets softer, and leaves no hole.
files = separation.save(OUT, overwrite=True)
gains = {source: 10 ** (-SOFTER_DB / 20) if source == MY_PART else 1.0 for source in separation}
minus_one = torch.stack([gains[source] * stem.samples for source, stem in separation.items()]).sum(dim=0)
files["minus_one"] = write_audio(OUT / "minus_one.wav", Audio(minus_one, mixture.sample_rate))
print(f"wrote {', '.join(map(str, files.values()))}")

# %% How good is it?
# For your own recordings you get only the first line: how much of the sound the dictionaries account for. The demo also
# has both players alone, as references. SI-SDR compares a stem's music with everything wrong in it, in dB.
print(separation.summary)
references = {source: read_audio(DATA / "duet_references" / f"{source}.flac") for source in separation}
for score in evaluate(separation, references, mixture=mixture).scores:
    print(f"{score.source}: SI-SDR {score.si_sdr_db:.1f} dB, {score.si_sdr_improvement_db:.1f} dB above the mixture's")

# %% Which moments to distrust
# Distrust a stem where it is soft beside the others, for what leaks in weighs more there. In seven mixtures, both of
# the demo's and five of real recordings, the softest five half seconds had an SI-SDR 1 to 14 dB below the mean. The
# numbers in brackets are measured with the references: signal to error in those moments.
#
# Moments in which little is explained are another matter. There something may sound that no dictionary knows: another
# instrument, a cough. Explained energy does not show where two sources are mistaken for each other.
step_s, explained = separation.timeline.explained(0.5)
n_step = round(step_s * mixture.sample_rate)


def level_db(audio: Audio, step: int) -> float:
    """Measure how loud a sound is in one step."""
    return Audio(audio.samples[:, step * n_step : (step + 1) * n_step], audio.sample_rate).level_db


loud = [step for step in range(mixture.n_samples // n_step) if level_db(mixture, step) > mixture.level_db - 20]
for source, stem in separation.items():
    softest = sorted(loud, key=lambda step: level_db(stem, step) - level_db(mixture, step))[:3]
    wrong = Audio(stem.samples - references[source].samples, stem.sample_rate)
    told = [f"{i * step_s:.1f} s ({level_db(references[source], i) - level_db(wrong, i):.0f} dB)" for i in softest]
    print(f"{source}: softest beside the others at {', '.join(told)}")
least = min(loud, key=lambda step: float(explained[step]))
print(f"least explained: {explained[least]:.0%}, at {least * step_s:.1f} s")
