"""Find when one bird sings, in a folder of recordings that hold many other sounds.

Run it with ``uv run python docs/tutorials/bird_recordist.py OUT``.
The folder OUT gets the stems, labels and a table of songs.

The demo holds no bird. Phrases of its violin take the place of the calls, over a reading voice that no dictionary
knows. The last cell says what to change for birds, and what to expect.
"""

# %% The settings
# In a notebook, put your own two folders here.
import csv
import sys
from pathlib import Path

import torch

from sepdict import (
    ActivityConfig,
    Audio,
    BatchConfig,
    Dictionary,
    read_audio,
    read_labels,
    separate_folder,
    write_audio,
)

DATA = Path(__file__).parents[2] / "data"
OUT = Path(*sys.argv[1:2] or ["bird_recordist"])

# The bird sings where its stem is less than 12 dB below the loudest tenth of a second of all stems of the recording;
# traces of other sounds are softer, or short. Set it on a recording that you know, as here on dawn.
ACTIVITY = ActivityConfig(below_db=12, step_s=0.1, pause_s=0.3, shortest_s=0.2)

# %% Two field recordings
# At dawn the "bird" calls three times; at noon it is silent, and nothing should be found.
CALLS_S = [(1.04, 2.47), (4.13, 4.91), (7.58, 9.36)]
bird, rest = (read_audio(DATA / "narration_references" / f"{name}.flac") for name in ("violin", "speech"))
times_s = torch.arange(bird.n_samples) / bird.sample_rate
calling = torch.stack([(times_s - begin_s).minimum(end_s - times_s) for begin_s, end_s in CALLS_S]).amax(dim=0)
calls = bird.samples * (calling / 0.02).clamp(0, 1)  # each fades in and out in 20 ms
recordings = OUT / "recordings"
recordings.mkdir(parents=True, exist_ok=True)
for name, samples in {"dawn": rest.samples + calls, "noon": rest.samples}.items():
    write_audio(recordings / f"{name}.flac", Audio(samples, bird.sample_rate))

# %% Pull the bird out of each
# With a single dictionary everything else is learned from each recording itself. Without that
# (`SeparationConfig(mask_estimator=None)`) it is ten times as fast, but the bird's stem holds whatever a bird could
# also have sung; here it would find songs at noon. Files are read and written a minute at a time, so they may last
# for hours. `skip_existing=True` lets a second run go on where the first was interrupted. `activity` writes a
# `labels.txt` beside the stems of each recording, which says when they sound. In Audacity, File > Import > Labels
# shows it below the recording; with `ActivityConfig(format="raven")` it is a selection table of Raven.
print(f"separating the recordings in {recordings} ...")
dictionary = Dictionary.load(DATA / "violin.safetensors")
config = BatchConfig(skip_existing=True, activity=ACTIVITY)
results = separate_folder(recordings, [dictionary], OUT, config)

# %% A table of all songs
# `songs.csv` is for a spreadsheet or R.
with (OUT / "songs.csv").open("w", encoding="utf-8", newline="") as table:
    writer = csv.writer(table)
    writer.writerow(["recording", "begin_s", "end_s", "level_db"])
    for result in results:
        if result.error or result.labels is None:  # one bad file does not stop a survey
            print(result.error)
            continue
        stem = read_audio(result.stems[dictionary.source])
        songs = [label for label in read_labels(result.labels) if label.name == dictionary.source]
        levels = [stem.seconds(song.start_s, song.end_s).level_db for song in songs]
        for song, level_db in zip(songs, levels, strict=True):
            writer.writerow([result.mixture.name, song.start_s, song.end_s, f"{level_db:.2f}"])
        heard = ", ".join(f"{song.start_s:.1f}-{song.end_s:.1f} s" for song in songs)
        print(f"{result.mixture.name}: {heard or 'nothing'}")
print(f"wrote {OUT / 'songs.csv'}; calls were at {', '.join(f'{begin}-{end} s' for begin, end in CALLS_S)} of dawn")

# %% For your own bird
# Collect a few minutes of the bird alone (cut out what is close and clean), then run
#
#     sepdict train-dictionary solos/blackbird -o blackbird.safetensors
#
# and use that file and your folder above, in place of the demo's. The threshold is relative to the loudest moment of
# each recording; where that is a passing car, set it lower.
#
# Then train a dictionary of the rest as well, from stretches without the bird: the wind, the rain, the motorway. It is
# easy to tell a voice from a violin, and harder to tell birds from rain. In twelve seconds of real birds in real rain,
# with the birds' dictionary alone and a background model, the stem gained only 1.7 dB of SI-SDR over the mixture, and
# its level showed no better when they sang than the recording's own level. With a dictionary of rain beside it, and
# without the background model, it gained 7.9 dB:
#
#     separate_folder(recordings, [blackbird, rain], OUT, BatchConfig(skip_existing=True))
