"""Render the demo recordings: solos to learn from, and three mixtures with their true parts.

The third mixture needs no solos: in it each source is first heard alone, and labels say when.

Violin and piano are old tunes typed in ABC notation, played with a seeded human touch by FluidSynth on the
FluidR3 sound font; speech is eSpeak NG reading old prose. No melody or text of a mixture occurs in a solo.
Everything is 16 kHz, mono, 16-bit FLAC, and the same program versions give the same bytes every time::

    apt-get install fluidsynth fluid-soundfont-gm espeak-ng
    python data/make_demo.py                # render everything, then rewrite the table in README.md
    python data/make_demo.py --checksums    # only rewrite and print the table
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

Signal = npt.NDArray[np.float64]
Events = list[tuple[int, bytes]]  # milliseconds and a MIDI message

HERE = Path(__file__).resolve().parent
RATE = 16_000
SOLO_PEAK, MIXTURE_PEAK = 0.16, 0.5  # quiet solos are small files
SEED = 1760  # one whose keys let both instruments be heard over their whole range
SOUND_FONTS = ("/usr/share/sounds/sf2/FluidR3_GM.sf2", "/usr/share/soundfonts/FluidR3_GM.sf2")
PACKAGES = "fluidsynth fluid-soundfont-gm espeak-ng"
VOICE = ("-v", "en-us", "-s", "155")
PROGRAM = {"violin": 40, "piano": 0}  # General MIDI
COMPASS = {"violin": (55, 88), "piano": (31, 91)}  # G3..E6 and G1..G6, as MIDI pitches
TOUCH = {"violin": (0.75, 0.9, 1.0), "piano": (0.9, 1.0)}  # how much of its length a note sounds


@dataclass(frozen=True)
class Tune:
    """A tune in ABC notation: the sharps of its key, the pace in ABC units per minute, its voices."""

    sharps: int
    pace: float
    voices: tuple[str, ...]


def broken_chords(bars: str) -> tuple[str, ...]:
    """Spell the three voices of the C major prelude from the five notes of each of its bars."""
    voices = ["", "", ""]
    for low, second, *top in (re.findall(r"\^?[A-Ga-g][,']*", bar) for bar in bars.split()):
        figures = f"{low}8", f"z{second}7", "z2" + "".join(top * 2)
        voices = [voice + 2 * figure for voice, figure in zip(voices, figures, strict=True)]
    return tuple(voices)


PRELUDIO = """z2e'd'e'2b2g2b2|efede2B2G2B2|EBFBGBABGBFB|EedcBedcBAGF|EFGABcdefgaf|gbefgabc'd'e'c'd'
e'babgbabgbfb|ee'd'c'bec'ebeae|g8"""
SUITE = """G,DBABDBDG,DBABDBD|G,EcBcEcEG,EcBcEcE|G,FcBcFcFG,FcBcFcF|G,GBABGBGG,GBABGBF
G,EBABGFGEGFGB,D^CB,|^CGAGAGAG^CGAGAGAG|FAd^cdAGAFAGADFED|G,8"""
SPRING = "e|gggf/e/b3b/a/|gggf/e/b3b/a/|ga/b/agfdBe|ga/b/agf3e|e4"
AULD_LANG_SYNE = "D2|G3GG2B2|A3GA2B2|G3GB2d2|e6e2|d3BB2G2|A6"
AMAZING_GRACE = "D2|G4BG|B4A2|G4E2|D4D2|G4BG|B4A2|d6"
WASHERWOMAN = "BGGDGG|BGBdcB|cAAEAA|cAcedc|BGGDGG|BGBdcB|cBcAdc|BGGG3"
DROWSY_MAGGIE = "E2BEdEBE|E2BEAFDF|E2BEdEBE|BABcdAFD|E6"
MINUET = "d2GABc|d2G2G2|e2cdef|g2G2G2|c2dcBA|B2cBAG|A2BAGF|G6"
MINUET_BASS = "[G,B,D]4A,2|G,2B,2G,2|C6|B,2CB,A,G,|A,4F,2|G,4B,2|C2D2D,2|G,4G,,2"
SONATA = """c8e4g4|B6cdc4z4|a8g4c'4|g4f2efe4z4|A2BcdefgagfedcBA|G2ABcdefgfedcBAG
F2GABcdefedcBAGF|E2FGABcdedcBAGFE|C8"""
SONATA_BASS = """C2G2E2G2C2G2E2G2|D2G2F2G2C2G2E2G2|C2A2F2A2C2G2E2G2|B,2G2D2G2C2G2E2G2
[F,A,C]4z12|[E,G,C]4z12|[D,F,A,]4z12|[C,E,G,]4z12|[C,E,G,]8"""
ELISE = "e^d|e^deBdc|A2zCEA|B2zE^GB|c2zEe^d|e^deBdc|A2zCEA|B2zEcB|A4"
ELISE_BASS = "z2|z6|A,,E,A,3z|E,,E,^G,3z|A,,E,A,3z|z6|A,,E,A,3z|E,,E,^G,3z|A,,E,A,2"
SCALE = "G,^G,A,^A,B,C^CD^DEF^FG^GA^ABc^cd^def^fg^ga^abc'^c'd'^d'e'2"
RIGHT_HAND = "C^CD^DEF^FG^GA^ABc^cd^def^fg^ga^abc'2"
LEFT_HAND = "C,,^C,,D,,^D,,E,,F,,^F,,G,,^G,,A,,^A,,B,,C,^C,D,^D,E,F,^F,G,^G,A,^A,B,C2"
GREENSLEEVES = "A|c2de3/2^f/e|d2BG3/2A/B|c2AA3/2^G/A|B2^GE2A|c2de3/2^f/e|d2BG3/2A/B|c3/2B/A^G3/2^F/^G|A6"
COUNTERPOINT = "z|E3A2c|G3B2d|e3c2A|^G3B2e|e3c2A|d3B2G|E3B2d|[CEA]6"
BASS = """z|A,,E,A,CA,E,|G,,D,G,B,G,D,|A,,E,A,CA,E,|E,,B,,E,^G,E,B,,
A,,E,A,CA,E,|G,,D,G,B,G,D,|A,,E,A,E,^G,B,|A,,6"""
JESU_JOY = "zGABdcced|dgfgdBGAB|cdedcBABG|FGADFAcBA|BGABdcced|dgfgdBGAB|EdcBAGDGF|G3"

CANON = "f4e4d4c4B4A4"
CANON_BASS = "D,4A,,4B,,4F,,4G,,4D,,4"
VARIATION = "d2f2a2g2f2d2f2e2d2B2d2a2g2b2a2g2f2d2e2c'2d'8"
VARIATION_BASS = "D,4A,,4B,,4F,,4G,,4D,,4G,,4A,,4D,,8"

SOLOS = {  # each tune in a key of the moment
    ("violin", "bach"): (Tune(4, 430, (PRELUDIO,)), Tune(1, 430, (SUITE,))),
    ("violin", "airs"): (Tune(1, 225, (AULD_LANG_SYNE,)), Tune(1, 225, (AMAZING_GRACE,))),
    ("violin", "allegro"): (
        Tune(4, 240, (SPRING,)),
        Tune(1, 330, (WASHERWOMAN,)),
        Tune(2, 360, (DROWSY_MAGGIE,)),
    ),
    ("violin", "scale"): (Tune(0, 180, (SCALE,)),),
    ("piano", "prelude"): (Tune(0, 370, broken_chords("CEGce CDAdf B,DGdf CEGce CEAea CD^FAd B,DGdg B,CEGc")),),
    ("piano", "dances"): (
        Tune(1, 270, (MINUET, MINUET_BASS)),
        Tune(2, 88, ("z6zfa|gfc|Bcd|A3|F6", "G,,3D,,3" * 4, "z[B,DF]2z[A,CF]2" * 4)),
    ),
    ("piano", "classics"): (Tune(0, 460, (SONATA, SONATA_BASS)), Tune(0, 300, (ELISE, ELISE_BASS))),
    ("piano", "scale"): (Tune(0, 170, (RIGHT_HAND, LEFT_HAND)),),
}
DUET = {"violin": Tune(0, 255, (GREENSLEEVES,)), "piano": Tune(0, 255, (COUNTERPOINT, BASS))}

READINGS = {
    "aesop": """One hot summer's day a Fox was strolling through an orchard till he came to a bunch of Grapes
just ripening on a vine which had been trained over a lofty branch. Just the thing to quench my thirst, quoth
he. Drawing back a few paces, he took a run and a jump, and just missed the bunch. Turning round again with a
One, Two, Three, he jumped up, but with no greater success.""",
    "lincoln": """Four score and seven years ago our fathers brought forth on this continent, a new nation,
conceived in Liberty, and dedicated to the proposition that all men are created equal. Now we are engaged in
a great civil war, testing whether that nation, or any nation so conceived and so dedicated, can long endure.
We are met on a great battle-field of that war.""",
    "carroll": """Alice was beginning to get very tired of sitting by her sister on the bank, and of having
nothing to do: once or twice she had peeped into the book her sister was reading, but it had no pictures or
conversations in it, and what is the use of a book, thought Alice, without pictures or conversations? So she
was considering in her own mind, as well as she could, for the hot day made her feel very sleepy and stupid,
whether the pleasure of making a daisy-chain would be worth the trouble of getting up and picking the
daisies.""",
}
READING_ALONE = """Call me Ishmael. Some years ago, never mind how long precisely, having little or no money in
my purse,"""
READING = """and nothing particular to interest me on shore, I thought I would sail about a little and see the
watery part of the world. It is a way I have of driving off the spleen."""
NARRATION = """It was the best of times, it was the worst of times, it was the age of wisdom, it was the age
of foolishness, it was the epoch of belief, it was the epoch of incredulity."""


def read_abc(voice: str, sharps: int) -> list[tuple[float, float, list[int]]]:
    """Parse one ABC voice into (onset, length, MIDI pitches), both times in ABC units.

    Understood: notes, octaves, accidentals (each for its own note only), chords, rests, lengths, bar lines.
    """
    events, now = [], 0.0
    for symbol, times, slash, over in re.findall(r"(\[[^]]+\]|[_^=]?[A-Ga-gz][,']*)(\d*)(/?)(\d*)", voice):
        pitches = []
        for sign, letter, marks in re.findall(r"([_^=]?)([A-Ga-g])([,']*)", symbol):
            octave = 5 + letter.islower() + marks.count("'") - marks.count(",")
            alter = {"^": 1, "_": -1, "=": 0}.get(sign, letter.upper() in "FCGDAEB"[:sharps])
            pitches.append(12 * octave + "C D EF G A B".index(letter.upper()) + alter)
        length = int(times or 1) / (int(over or 2) if slash else 1)
        events.append((now, length, pitches))
        now += length
    return events


def perform(instrument: str, tune: Tune, rng: np.random.Generator, shift: int | None = None) -> Events:
    """Play a tune with the tempo, key, phrasing and touch of the moment (``shift=0`` keeps the key)."""
    voices = [read_abc(voice, tune.sharps) for voice in tune.voices]
    pitches = [pitch for voice in voices for *_, chord in voice for pitch in chord]
    low, high = COMPASS[instrument]
    if shift is None:
        shift = int(rng.integers(max(low - min(pitches), -7), min(high - max(pitches), 7) + 1))
    unit = 60 / tune.pace * rng.uniform(0.96, 1.04)
    phrase = 4.0 / unit  # a phrase is about four seconds: it swells, fades, and has one touch
    events: Events = []
    for loudness, voice in zip((84, 74, 74), voices, strict=False):
        touch = rng.choice(TOUCH[instrument], size=1 + int(voice[-1][0] / phrase))
        for onset, length, chord in voice:
            swell = loudness + 16 * np.sin(np.pi * (onset % phrase) / phrase)
            for pitch in chord:
                start = onset * unit + rng.uniform(0.0, 0.015)
                stop = (onset + length * touch[int(onset / phrase)]) * unit
                velocity = int(np.clip(swell + rng.normal(0.0, 5.0), 30, 120))
                events.append((round(1000 * start), bytes((0x90, pitch + shift, velocity))))
                events.append((round(1000 * stop), bytes((0x80, pitch + shift, 0))))
    return sorted(events)  # at equal times a note stops before the next one starts


def midi_file(events: Events, program: int) -> bytes:
    """Write a Standard MIDI File of one track in which a tick is a millisecond."""
    track, now = bytes((0, 0xC0, program)), 0
    for tick, message in [*events, (events[-1][0] + 1000, b"\xff\x2f\x00")]:
        delta, now = tick - now, tick
        track += bytes(0x80 | delta >> bits & 0x7F for bits in (21, 14, 7) if delta >> bits)
        track += bytes((delta & 0x7F,)) + message
    return struct.pack(">4sIHHH4sI", b"MThd", 6, 0, 1, 500, b"MTrk", len(track)) + track


def run(*command: str | Path) -> None:
    """Run a program quietly; end with one line where it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode or "error:" in done.stderr:  # FluidSynth goes on without a broken sound font
        sys.exit(f"make_demo: {command[0]} failed: {' '.join(done.stderr.split()) or done.returncode}")


def trimmed(path: Path) -> Signal:
    """Read a recording as mono at the demo's rate, and let it fade where its sound has died away."""
    stereo, rate = soundfile.read(path, always_2d=True)
    signal = np.asarray(soxr.resample(stereo.mean(axis=1), rate, RATE, "VHQ"), dtype=np.float64)
    loud = np.flatnonzero(np.abs(signal) > 2e-3 * np.abs(signal).max())
    if loud.size == 0:
        sys.exit(f"make_demo: {path.stem} came out silent; is the sound font a General MIDI one?")
    signal = signal[: loud[-1] + 1]
    signal[-RATE // 20 :] *= np.linspace(1.0, 0.0, RATE // 20)
    return signal


def play(events: Events, instrument: str, sound_font: Path) -> Signal:
    """Render a performance with FluidSynth: dry, in floating point, no dither."""
    with tempfile.TemporaryDirectory() as folder:
        score, sound = Path(folder, "score.mid"), Path(folder, "music.wav")
        score.write_bytes(midi_file(events, PROGRAM[instrument]))
        options = ("-niq", "-R0", "-C0", "-g0.4", "-f/dev/null", "-r48000", "-Twav", "-Ofloat")
        run("fluidsynth", *options, f"-F{sound}", sound_font, score)
        return trimmed(sound)


def speak(text: str) -> Signal:
    """Have eSpeak NG read a text."""
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder, "speech.wav")
        run("espeak-ng", *VOICE, "-w", sound, " ".join(text.split()))
        return trimmed(sound)


def save(path: Path, samples: npt.NDArray[np.int16]) -> None:
    """Write 16-bit samples as FLAC, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    soundfile.write(draft, samples, RATE, format="FLAC", subtype="PCM_16", compression_level=1.0)
    draft.replace(path)
    print(f"{path.relative_to(HERE)}  {len(samples) / RATE:.1f} s")


def quantized(signal: Signal) -> npt.NDArray[np.int16]:
    """Round a signal in -1..1 to 16 bits."""
    return np.round(signal * 32_767).astype(np.int16)


def save_solo(source: str, name: str, signal: Signal) -> None:
    """Save one recording to learn from."""
    save(HERE / "solos" / source / f"{name}.flac", quantized(SOLO_PEAK * signal / np.abs(signal).max()))


def save_mixture(name: str, parts: dict[str, Signal]) -> None:
    """Save equally loud parts of one length, and their sum: exact, sample by sample."""
    length = max(map(len, parts.values()))
    padded = {source: np.pad(part, (0, length - len(part))) for source, part in parts.items()}
    level = {source: part / np.sqrt(np.mean(part**2)) for source, part in padded.items()}
    gain = MIXTURE_PEAK / np.abs(sum(level.values(), np.zeros(length))).max()
    tracks = {source: quantized(gain * part) for source, part in level.items()}
    for source, track in tracks.items():
        save(HERE / f"{name}_references" / f"{source}.flac", track)
    save(HERE / f"{name}.flac", np.sum(list(tracks.values()), axis=0, dtype=np.int16))


def save_reading(alone: dict[str, Signal], together: dict[str, Signal]) -> None:
    """Save a recording in which one source after the other is heard alone, then all at once, with labels."""
    pause, now, lines = np.zeros(RATE // 4), 0, []
    parts = {source: [np.zeros(0)] for source in alone}
    for source, signal in alone.items():
        for each in parts:
            parts[each] += [signal if each == source else np.zeros(len(signal)), pause]
        lines.append(f"{now / RATE:.3f}\t{(now + len(signal)) / RATE:.3f}\t{source}\n")
        now += len(signal) + len(pause)
    save_mixture("reading", {source: np.concatenate([*parts[source], together[source]]) for source in alone})
    (HERE / "reading.txt").write_text("".join(lines), "utf-8", newline="\n")


def checksums() -> str:
    """Tabulate every file beside this script, and put the table between the marks in README.md."""
    rows = ["| file | seconds | bytes | SHA-256 |", "| --- | ---: | ---: | --- |"]
    for path in sorted(HERE.rglob("*")):
        name = path.relative_to(HERE).as_posix()
        if path.is_file() and path.suffix not in {".md", ".py", ".pyc"} and not path.name.startswith("."):
            seconds = f"{soundfile.info(path).duration:.2f}" if path.suffix == ".flac" else ""
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            rows.append(f"| `{name}` | {seconds} | {path.stat().st_size} | `{digest}` |")
    table, readme = "\n".join(rows), HERE / "README.md"
    head, mark, rest = readme.read_text("utf-8").partition("<!-- checksums -->\n")
    _, end, tail = rest.partition("<!-- /checksums -->")
    if not (mark and end):
        sys.exit("make_demo: README.md has lost its <!-- checksums --> ... <!-- /checksums --> marks")
    draft = readme.with_name(".README.md.part")
    draft.write_text(f"{head}{mark}{table}\n{end}{tail}", "utf-8")
    draft.replace(readme)
    return table


def render(sound_font: Path) -> None:
    """Render every solo and all mixtures."""
    rng = np.random.default_rng(SEED)
    for (instrument, name), tunes in SOLOS.items():
        takes = [play(perform(instrument, tune, rng), instrument, sound_font) for tune in tunes]
        save_solo(instrument, name, np.concatenate(takes))
    for name, text in READINGS.items():
        save_solo("speech", name, speak(text))

    tempo = int(rng.integers(2**32))  # both players of the duet start from one seed, so they share the tempo
    parts = {who: perform(who, tune, np.random.default_rng(tempo), shift=0) for who, tune in DUET.items()}
    save_mixture("duet", {who: play(events, who, sound_font) for who, events in parts.items()})
    jesu_joy = perform("violin", Tune(1, 365, (JESU_JOY,)), rng, shift=0)
    save_mixture("narration", {"speech": speak(NARRATION), "violin": play(jesu_joy, "violin", sound_font)})

    tunes = Tune(2, 270, (CANON, CANON_BASS)), Tune(2, 270, (VARIATION, VARIATION_BASS))
    canon, variation = (
        play(perform("piano", tune, np.random.default_rng(tempo), shift=0), "piano", sound_font) for tune in tunes
    )
    save_reading({"piano": canon, "speech": speak(READING_ALONE)}, {"piano": variation, "speech": speak(READING)})


def main() -> None:
    """Render the demo, or only renew its table of checksums."""
    parser = argparse.ArgumentParser(description="Render the demo recordings.")
    parser.add_argument("--sound-font", type=Path, metavar="PATH", help="where FluidR3_GM.sf2 is")
    parser.add_argument("--checksums", action="store_true", help="only rewrite and print the table")
    options = parser.parse_args()
    if not options.checksums:
        fonts = [options.sound_font] if options.sound_font else [Path(path) for path in SOUND_FONTS]
        found = [path for path in fonts if path.is_file()]
        lacking = [name for name in ("fluidsynth", "espeak-ng") if shutil.which(name) is None]
        lacking += [] if found else [f"sound font {' or '.join(map(str, fonts))}"]
        if lacking:
            sys.exit(f"make_demo: not found: {', '.join(lacking)} (apt-get install {PACKAGES})")
        render(found[0])
    print(checksums())


if __name__ == "__main__":
    main()
