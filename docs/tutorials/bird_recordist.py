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

from sepdict import Audio, BatchConfig, Dictionary, SeparationConfig, read_audio, separate_folder, write_audio

DATA = Path(__file__).parents[2] / "data"
OUT = Path(*sys.argv[1:2] or ["bird_recordist"])

STEP_S = 0.1  # length of the steps in which levels are measured
THRESHOLD_DB = -32.0  # full scale is 0; a louder stem is the bird. Set it on a recording that you know, as here on dawn
LONGEST_PAUSE_S = 0.2  # within a song
SHORTEST_SONG_S = 0.2

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
# `background_model=True` learns a dictionary of everything else from each recording itself. `residual=True` would be
# several times as fast, but it leaves in the bird's stem whatever a bird could also have sung; here it would find songs
# at noon. Files are read and written a minute at a time, so they may last for hours. `skip_existing=True` lets a second
# run go on where the first was interrupted.
print(f"separating the recordings in {recordings} ...")
dictionary = Dictionary.load(DATA / "violin.safetensors")
config = BatchConfig(SeparationConfig(background_model=True), skip_existing=True)
results = separate_folder(recordings, [dictionary], OUT, config)


# %% When is its stem loud?
def songs_in(stem: Audio) -> list[tuple[float, float, float]]:
    """Find the songs in a stem: begin and end in s, mean level in dB."""
    n_step = round(STEP_S * stem.sample_rate)
    power = torch.nn.functional.avg_pool1d(stem.samples.square().mean(dim=0, keepdim=True), n_step, ceil_mode=True)[0]
    spans: list[list[int]] = []  # in samples
    for index in (power > 10 ** (THRESHOLD_DB / 10)).nonzero().flatten().tolist():
        begin, end = index * n_step, min((index + 1) * n_step, stem.n_samples)
        if spans and begin - spans[-1][1] <= LONGEST_PAUSE_S * stem.sample_rate:
            spans[-1][1] = end
        else:
            spans.append([begin, end])
    return [
        (begin / stem.sample_rate, end / stem.sample_rate, Audio(stem.samples[:, begin:end], stem.sample_rate).level_db)
        for begin, end in spans
        if end - begin >= SHORTEST_SONG_S * stem.sample_rate
    ]


# %% A table of all songs, and labels for Audacity
# `songs.csv` is for a spreadsheet or R. In Audacity, File > Import > Labels shows a `labels.txt` below its recording.
with (OUT / "songs.csv").open("w", encoding="utf-8", newline="") as table:
    writer = csv.writer(table)
    writer.writerow(["recording", "begin_s", "end_s", "level_db"])
    for result in results:
        if result.error:  # one bad file does not stop a survey
            print(result.error)
            continue
        songs = songs_in(read_audio(result.stems[dictionary.source]))
        labels = "".join(f"{begin:.2f}\t{end:.2f}\t{dictionary.source} {level:.1f} dB\n" for begin, end, level in songs)
        (OUT / result.mixture.stem / "labels.txt").write_text(labels, encoding="utf-8")
        writer.writerows([result.mixture.name, *(f"{value:.2f}" for value in song)] for song in songs)
        heard = ", ".join(f"{begin:.1f}-{end:.1f} s at {level:.0f} dB" for begin, end, level in songs)
        print(f"{result.mixture.name}: {heard or 'nothing'}")
print(f"wrote {OUT / 'songs.csv'}; calls were at {', '.join(f'{begin}-{end} s' for begin, end in CALLS_S)} of dawn")

# %% For your own bird
# Collect a few minutes of the bird alone (cut out what is close and clean), then run
#
#     sepdict train-dictionary solos/blackbird -o blackbird.safetensors
#
# and use that file and your folder above, in place of the demo's. One threshold for all recordings assumes that the
# recorder's gain was the same for all.
#
# Then train a dictionary of the rest as well, from stretches without the bird: the wind, the rain, the motorway. It is
# easy to tell a voice from a violin, and harder to tell birds from rain. In twelve seconds of real birds in real rain,
# with the birds' dictionary alone and a background model, the stem gained only 1.7 dB of SI-SDR over the mixture, and
# its level showed no better when they sang than the recording's own level. With a dictionary of rain beside it, and
# without the background model, it gained 7.9 dB:
#
#     separate_folder(recordings, [blackbird, rain], OUT, BatchConfig(skip_existing=True))
