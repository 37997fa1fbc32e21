"""Compare two regularizers: train dictionaries with each, compare these, and score stems against references.

Run it with ``uv run python docs/tutorials/researcher.py OUT``. It trains four dictionaries, which takes some minutes.
The folder OUT gets the dictionaries and a table of all scores.
"""

# %% The settings
# In a notebook, put your own two folders here. `VARIANTS` are the regularizers, and how much there is of each.
import csv
import sys
from dataclasses import replace
from pathlib import Path
from statistics import mean

from sepdict import (
    PRESETS,
    Dictionary,
    SeparationConfig,
    compare,
    evaluate,
    load_dictionary,
    read_audio,
    regularized,
    separate,
    train_dictionary,
)

DATA = Path(__file__).parents[2] / "data"
OUT = Path(*sys.argv[1:2] or ["researcher"])

SOURCES = ["violin", "piano"]
VARIANTS = {"dropout": {"dropout": 0.2}, "variational": {"variational": 1.0}}
SEED = 0
QUALITIES = {"decoders alone": SeparationConfig(mask_estimator=None), "with mask estimator": SeparationConfig()}

# %% Train
# Everything but the regularizer is equal: network, solos, number of steps, seed. A dictionary records its settings in
# its card. One that was trained before is loaded, so the script can go on after an interruption.
dictionaries: dict[str, list[Dictionary]] = {}
for variant, amounts in VARIANTS.items():
    config = replace(regularized(PRESETS["default"], amounts), seed=SEED)
    for source in SOURCES:
        file = OUT / variant / f"{source}.safetensors"
        if not file.exists():
            print(f"training the {source} with {variant} ...")
            file.parent.mkdir(parents=True, exist_ok=True)
            train_dictionary(DATA / "solos" / source, config, source=source).save(file)
        dictionaries.setdefault(variant, []).append(load_dictionary(file))

# %% How well do they reconstruct their own source?
# Some solos are held out of the training. The divergence of their reconstruction is the first number to look at. It
# says little about separation: a dictionary that can reconstruct everything can also reconstruct the other source.
for variant, pair in dictionaries.items():
    held_out = ", ".join(f"{one.source} {min(one.card.curves['validation']):.3f}" for one in pair)
    print(f"{variant}: least divergence of held-out sound: {held_out}")

# %% Can the sources be told apart?
# `compare` needs the dictionaries only. `explained[i][j]` is the share of source j that dictionary i explains: near 1
# on the diagonal and small elsewhere is good. The forecast is the SI-SDR improvement to expect of a separation.
forecasts = {}
for variant, pair in dictionaries.items():
    comparison = compare(pair, seed=SEED)
    forecasts[variant] = comparison.forecasts[0].si_sdr_improvement_db
    for source, row in zip(comparison.sources, comparison.explained, strict=True):
        shares = ", ".join(f"{share:.0%} of the {name}" for name, share in zip(comparison.sources, row, strict=True))
        print(f"{variant}: the {source} dictionary explains {shares}")
    print(f"{variant}: {comparison.forecasts[0].sentence}")

# %% Separate, and score against the references
# Separate twice: by the decoders alone, which shows the dictionaries themselves, and with the mask estimator, which
# evens out much of what distinguishes dictionaries. Each pair's mask estimator is trained once, in a minute or two, and
# kept.
mixture = read_audio(DATA / "duet.flac")
rows = []
for variant, pair in dictionaries.items():
    for quality, settings in QUALITIES.items():
        scores = evaluate(separate(mixture, pair, settings), DATA / "duet_references", mixture=mixture).scores
        rows += [{"variant": variant, "quality": quality, **score.as_dict()} for score in scores]
        gains = [score.si_sdr_improvement_db for score in scores]
        print(f"{variant}, {quality}: {mean(gains):.2f} dB gained, forecast {forecasts[variant]:.1f} dB")

# %% A table for your own analysis
# One row for each variant, quality and source, with SI-SDR, its improvement over the mixture, and SDR, SIR and SAR.
with (OUT / "scores.csv").open("w", encoding="utf-8", newline="") as table:
    writer = csv.DictWriter(table, rows[0])
    writer.writeheader()
    writer.writerows(rows)
print(f"wrote {OUT / 'scores.csv'}")
