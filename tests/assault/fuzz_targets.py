"""What is fuzzed: files of strangers, and the law that nothing but a result or a `SepdictError` comes of them."""

import atexit
import contextlib
import functools
import io
import json
import math
import os
import random
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import safetensors.torch
import soundfile
import torch
from fastapi.testclient import TestClient
from front_end import SAMPLE_RATE, mixture, read_json, run, sound, trained
from mutation import mutated, odd_json
from scenarios import FIT, cache_in, learned, pair, said_in_one_line
from text_grids import LONG_GRID, SHORT_GRID
from web_client import ADDRESS, SAME_ORIGIN, files_of, send, service_of

import sepdict.dictionaries.dictionary_file
import sepdict.dictionaries.tensor_cache
from sepdict.audio.io import probe_audio, read_audio
from sepdict.audio.labels import Label, read_labels, write_labels
from sepdict.audio.signal import Audio
from sepdict.audio.writing import write_audio
from sepdict.batch.config import BatchConfig
from sepdict.batch.layout import find_mixtures
from sepdict.batch.result import TrackResult
from sepdict.batch.run import separate_files
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.dictionaries.dictionary_file import FORMAT
from sepdict.errors import LabelFileError, SepdictError
from sepdict.separation.config import FitConfig
from sepdict.separation.engine import separate
from sepdict.separation.mask_estimator_cache import cached_mask_estimator
from sepdict.web.server import Settings, create_app
from sepdict.web.uploads import Limits


@dataclass(frozen=True)
class Target:
    """Something that reads files of strangers.

    Attributes
    ----------
    name : str
    seeds : callable
        Gives whole files, by extension and what they are.
    mutate : callable
        Makes another file of one of them.
    try_out : callable
        Given the path of a file, asserts the law; returns how it went, in a few words.
    """

    name: str
    seeds: Callable[[], dict[str, bytes]]
    mutate: Callable[[bytes, random.Random, Sequence[bytes]], bytes]
    try_out: Callable[[Path], str]

    def __str__(self) -> str:
        return self.name


# --- recordings

N_SAMPLES = 3000
SUBTYPES = {
    "wav": ["PCM_16", "PCM_24", "FLOAT", "DOUBLE", "ULAW", "IMA_ADPCM", "MS_ADPCM", "GSM610"],
    "flac": ["PCM_16", "PCM_24"],
    "ogg": ["VORBIS", "OPUS"],
    "mp3": ["MPEG_LAYER_III"],
    "aiff": ["PCM_16", "FLOAT"],
    "w64": ["PCM_16", "FLOAT"],
    "caf": ["PCM_16", "FLOAT", "ALAC_16"],
    "rf64": ["PCM_16"],
    "au": ["PCM_16", "FLOAT"],
}
BY_FFMPEG = {"m4a": "aac", "mkv": "flac", "wma": "wmav2", "aac": "aac", "tta": "tta", "wv": "wavpack", "mp4": "alac"}
LOSSLESS = ("wav", "flac", "aiff", "w64", "caf", "rf64", "au", "tta", "wv")
TOLERANCE_S = 0.15  # of lossy codecs: padding at both ends, which decoders take off or not
N_BYTES_AT_MOST = 2**26  # of samples that a file of some kilobytes may become
ffmpeg_program = functools.cache(lambda: shutil.which("ffmpeg"))


@functools.cache
def audio_seeds() -> dict[str, bytes]:
    seeds = {}
    for extension, subtypes in SUBTYPES.items():
        for subtype in subtypes:
            n_channels = 1 if subtype == "GSM610" else 2
            rate = 48_000 if subtype in ("OPUS", "MPEG_LAYER_III") else SAMPLE_RATE
            samples = sound(n_samples=N_SAMPLES, n_channels=n_channels, sample_rate=rate).samples.T.numpy()
            content = io.BytesIO()
            with contextlib.suppress(soundfile.LibsndfileError):
                soundfile.write(content, samples, rate, format=extension.upper(), subtype=subtype)
                seeds[f"{subtype}.{extension}"] = content.getvalue()
    return seeds


@functools.cache
def more_audio_seeds() -> dict[str, bytes]:
    """Add what ffmpeg writes, pipes included, where it is installed."""
    seeds = dict(audio_seeds())
    if ffmpeg_program() is None:
        return seeds
    with tempfile.TemporaryDirectory() as folder:
        source = write_audio(Path(folder, "s.wav"), sound(n_samples=N_SAMPLES, n_channels=2, sample_rate=48_000))
        command = [str(ffmpeg_program()), "-v", "error", "-i", str(source)]
        for extension, codec in BY_FFMPEG.items():
            target = Path(folder, f"x.{extension}")
            if not subprocess.run([*command, "-strict", "-2", "-c:a", codec, str(target)], check=False).returncode:
                seeds[f"{codec}.{extension}"] = target.read_bytes()
        for kind in ("wav", "flac", "ogg", "mp3", "aiff", "au", "caf"):
            piped = subprocess.run([*command, "-f", kind, "-"], capture_output=True, check=False).stdout
            if piped:
                seeds[f"piped.{kind}"] = piped
    return seeds


def read_sound(path: Path, *, n_expected: Callable[[Path, Audio], int | None] = lambda *_: None) -> str:
    """Read a recording in every way; what is read is finite, and no longer than its bytes can be."""
    try:
        info = probe_audio(path)
    except SepdictError as error:
        info = None
        said_in_one_line(error)
    try:
        audio = read_audio(path)
    except SepdictError as error:
        said_in_one_line(error)
        return _in_general(error, path)
    assert info is not None, "it is read, but cannot be probed"
    assert audio.samples.isfinite().all()
    assert audio.samples.nbytes <= N_BYTES_AT_MOST, f"{path.stat().st_size} bytes become {audio.samples.nbytes}"
    assert (info.n_channels, info.sample_rate) == (audio.n_channels, audio.sample_rate)
    there = n_expected(path, audio)
    tolerance = 0 if path.suffix[1:] in LOSSLESS else round(TOLERANCE_S * audio.sample_rate)
    assert there is None or abs(there - audio.n_samples) <= tolerance, f"{audio.n_samples} samples, ffmpeg: {there}"
    return "read"


def _decoded_by_ffmpeg(path: Path, audio: Audio) -> int | None:
    """Count the samples that ffmpeg decodes without a word, at the same rate and channels; None where it complains."""
    if ffmpeg_program() is None:
        return None
    command = [str(ffmpeg_program()), "-nostdin", "-v", "warning", "-i", f"file:{path}", "-map", "0:a:0"]
    command += ["-c:a", "pcm_s16le", "-bitexact", "-f", "wav", "-"]  # bitexact: a header of 44 bytes
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=20)
    n_channels, sample_rate = map(int, struct.unpack_from("<HI", done.stdout.ljust(44), 22))
    if done.returncode or done.stderr or (n_channels, sample_rate) != (audio.n_channels, audio.sample_rate):
        return None
    return (len(done.stdout) - 44) // (2 * n_channels)


def read_sound_as_ffmpeg_does(path: Path) -> str:
    """Hold, beside that, that as much is read as another decoder finds, where that one has nothing to complain of."""
    return read_sound(path, n_expected=_decoded_by_ffmpeg)


def _in_general(error: Exception, path: Path) -> str:
    """Take out of a message what differs from file to file."""
    words = str(error).replace(str(path), "").split()
    return " ".join(word for word in words if word.isalpha())[:80]


# --- dictionaries


@functools.cache
def dictionary_seeds() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        paths = {"plain": trained("hum"), "with memory": learned("hum")}
        return {
            f"{name}.safetensors": dictionary.save(Path(folder, "d.safetensors")).read_bytes()
            for name, dictionary in paths.items()
        }


def forge(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """Damage a dictionary; or change its card or a tensor and sign it anew, as a forger would."""
    if rng.random() < 0.3:
        return mutated(content, rng, others)
    try:
        tensors = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        said = json.loads(header["__metadata__"][FORMAT])
    except Exception:  # one of the corpus that is no dictionary any more
        return mutated(content, rng, others)
    if rng.random() < 0.6:
        said = odd_json(said, rng)
    else:
        name = rng.choice(sorted(tensors))
        tensors[name] = _odd_tensor(tensors[name], rng)
    if isinstance(said, dict) and "card" in said and rng.random() < 0.9:
        with contextlib.suppress(Exception):  # what cannot even be signed stays as it was signed
            said["sha256"] = sepdict.dictionaries.dictionary_file.checksum(said["card"], tensors)
    try:
        return safetensors.torch.save(tensors, {FORMAT: json.dumps(said)})
    except (UnicodeError, ValueError, RecursionError):
        return mutated(content, rng, others)


def _odd_tensor(tensor: torch.Tensor, rng: random.Random) -> torch.Tensor:
    tensor = tensor.clone()
    what = rng.randrange(8)
    if what == 0:
        return tensor.flatten()
    if what == 1:
        return tensor[..., :0].contiguous()
    if what == 2:
        return tensor.to(rng.choice([torch.float16, torch.float64, torch.int32, torch.uint8, torch.bool]))
    if what == 3:
        return torch.zeros((), dtype=tensor.dtype)
    if what == 4 or not tensor.is_floating_point():
        return torch.zeros_like(tensor)
    if what == 5:
        return tensor * rng.choice([1e38, 1e30, -1.0, 1e-38])
    if tensor.numel():
        tensor.view(-1)[rng.randrange(tensor.numel())] = rng.choice([math.nan, math.inf, -math.inf, 3e38, -3e38, 0.0])
    return tensor


def load_dictionary(path: Path) -> str:
    """Load a dictionary; one that loads describes itself in a line, draws something and separates."""
    outcome = "loaded"
    try:
        dictionary = Dictionary.load(path)
    except SepdictError as error:
        said_in_one_line(error)
        outcome = _in_general(error, path)
    else:
        code = torch.randn(dictionary.card.network.code_size, 4, generator=torch.Generator().manual_seed(0))
        assert dictionary.decode(code).isfinite().all()
        assert str(dictionary).isprintable()
        _separate_with(dictionary)
    whole = path.with_name("whole.safetensors")
    whole.write_bytes(dictionary_seeds()["plain.safetensors"])
    with patch.dict(os.environ, {"SEPDICT_LIBRARY": str(path.parent)}):
        listed, described = run("list"), run("info", path)
    assert "whole" in listed.stdout, "one dictionary keeps the others from being listed"
    assert described.exit_code == (0 if outcome == "loaded" else 1), described.output
    for result in (listed, described):
        assert "Traceback" not in result.output
        assert all(letter.isprintable() or letter in "\n\t" for letter in result.output), "escapes reach the terminal"
    return outcome


def _separate_with(dictionary: Dictionary) -> None:
    """Separate a moment; where it cannot be done, it is said."""
    if dictionary.card.stft.n_fft > 4096 or dictionary.card.sample_rate > 100_000:  # it takes long
        return
    try:
        stems = separate(mixture(n_samples=1000), [dictionary], replace(FIT, fit=FitConfig(n_iterations=1))).stems
    except SepdictError:
        return
    assert all(stem.samples.isfinite().all() for stem in stems.values())


# --- manifests


@functools.cache
def _separated() -> tuple[Path, bytes]:
    """Separate once; return the folder, with the mixture in it, and the manifest."""
    folder = Path(tempfile.mkdtemp(prefix="separated-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write_audio(folder / "a.wav", mixture(n_samples=1000))
    (result,) = separate_files([folder / "a.wav"], pair(), folder / "out", BatchConfig(FIT))
    assert result.manifest is not None
    return folder, result.manifest.read_bytes()


def manifest_seeds() -> dict[str, bytes]:
    return {"manifest.json": _separated()[1]}


def odd_manifest(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    if rng.random() < 0.25:
        return mutated(content, rng, others)
    try:
        return json.dumps(odd_json(json.loads(content), rng)).encode()
    except (ValueError, RecursionError):
        return mutated(content, rng, others)


def go_on_beside(path: Path) -> str:
    """Go on where a manifest lies: what it says moves nothing, and only what is finished is kept."""
    shutil.copytree(_separated()[0], path.parent, dirs_exist_ok=True)
    there = path.parent / "out" / "a" / "manifest.json"
    path.replace(there)
    aside = path.parent / "aside.wav"
    aside.write_bytes(b"somebody else's")
    outcome, result = "refused", TrackResult(path)
    for overwrite in (False, True):
        with contextlib.suppress(SepdictError):
            find_mixtures(path.parent / "out", recursive=True)
        try:
            config = BatchConfig(FIT, overwrite=overwrite, skip_existing=not overwrite)
            (result,) = separate_files([path.parent / "a.wav"], pair(), path.parent / "out", config)
        except SepdictError as error:
            said_in_one_line(error)
            continue
        assert result.error is None
        assert all(read_audio(stem).n_samples == 1000 for stem in result.stems.values())
        numbers = (result.duration_s, result.explained_energy, result.null_test_db, result.gain)  # it is not silent
        assert all(isinstance(each, int | float) and math.isfinite(each) for each in numbers), (
            "odd numbers are believed"
        )
        assert (type(result.converged), type(result.message)) == (bool, str)
        outcome = "kept" if result.kept else "made anew" if not overwrite else outcome
    assert result.manifest is not None, "not even overwriting makes it"
    assert aside.read_bytes() == b"somebody else's"
    assert (path.parent / "a.wav").exists()
    return outcome


# --- mask estimators


@functools.cache
def mask_estimator_seeds() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder, cache_in(Path(folder)):
        cached_mask_estimator([learned("hiss"), learned("hum")])
        (path,) = Path(folder, "cache").glob("*.safetensors")
        return {path.name: path.read_bytes()}


def odd_mask_estimator(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    try:
        tensors = safetensors.torch.load(content)
    except Exception:
        return mutated(content, rng, others)
    if rng.random() < 0.3:
        return mutated(content, rng, others)
    name = rng.choice(sorted(tensors))
    tensors[name] = _odd_tensor(tensors[name], rng)
    return safetensors.torch.save(tensors)


def take_from_cache(path: Path) -> str:
    """Take what is in the cache under the right name, or train: what comes shares out every mixture."""
    (name,) = mask_estimator_seeds()
    with cache_in(path.parent):
        cache = path.parent / "cache"
        cache.mkdir()
        key = name.rsplit("-", 1)[0].removeprefix("mask_estimator-")
        path.replace(sepdict.dictionaries.tensor_cache._path_of("mask_estimator", key, path.read_bytes()))
        mask_estimator = cached_mask_estimator([learned("hiss"), learned("hum")])
        magnitude = torch.rand(1, learned("hum").card.stft.n_bins, 5, generator=torch.Generator().manual_seed(0))
        masks = mask_estimator.masks(magnitude, ["hiss", "hum"])
        assert masks.isfinite().all(), "masks that are no numbers"
        assert torch.allclose(masks.sum(dim=0), torch.ones(()), atol=1e-3)
    return "trained or taken"


# --- references


@functools.cache
def _scored() -> Path:
    """Write stems, and a reference that is whole."""
    folder = Path(tempfile.mkdtemp(prefix="scored-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in ("stems", "references"):
        (folder / name).mkdir()
        write_audio(folder / name / "hum.wav", sound("hum", n_samples=N_SAMPLES, n_channels=2, seed=1))
    write_audio(folder / "stems" / "hiss.wav", sound("hiss", n_samples=N_SAMPLES, n_channels=2, seed=2))
    return folder


def score_against(path: Path) -> str:
    """Evaluate against a reference; the scores are finite or null, and what cannot be scored is said in one line."""
    shutil.copytree(_scored(), path.parent, dirs_exist_ok=True)
    path.replace(path.parent / "references" / f"hiss{path.suffix}")
    result = run("evaluate", path.parent / "stems", path.parent / "references", "--json", "-q")
    assert result.exit_code in (0, 1), result.output
    assert "Traceback" not in result.output
    if result.exit_code:
        assert result.stdout == ""
        said_in_one_line(result.stderr.removesuffix("\n"))
        return "refused"
    assert {each["source"] for each in read_json(result.stdout)["sources"]} == {"hiss", "hum"}
    return "scored"


# --- what is brought to the page

KINDS = ("mixture", "solo", "dictionary")


@functools.cache
def page() -> TestClient:
    """Open the page, without its library; it starts no process before there is a job."""
    limits = Limits(file_bytes=2**20, total_bytes=2**22, n_files=6)
    library = Path(tempfile.mkdtemp(prefix="library-"))
    atexit.register(shutil.rmtree, library, ignore_errors=True)
    client = TestClient(create_app(Settings(library=library, limits=limits)), ADDRESS, headers=SAME_ORIGIN)
    atexit.register(client.__exit__)
    return client.__enter__()


def upload_seeds() -> dict[str, bytes]:
    return audio_seeds() | dictionary_seeds()


def odd_upload(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    return forge(content, rng, others) if FORMAT.encode() in content else mutated(content, rng, others)


def bring_to_the_page(path: Path) -> str:
    """Upload as each kind: it is taken with facts that are JSON, or refused in one line and leaves nothing."""
    outcomes = []
    for kind in KINDS:
        before = files_of(page())
        answer = send(page(), kind, path.name, path.read_bytes())
        facts = read_json(answer.text)
        assert answer.status_code in (200, 400, 413, 422), answer.text
        if answer.status_code == 200:
            assert facts["id"]
            service_of(page()).store.remove(facts["id"])
        else:
            assert list(facts) == ["error"]
            said_in_one_line(facts["error"])
            assert str(service_of(page()).store.folder) not in facts["error"], "it says where files are"
        assert files_of(page()) == before, "something is left"
        outcomes.append(str(answer.status_code))
    return " ".join(outcomes)


# --- files of labels

LABELS_OF_THREE = [Label(0.5, 2, "dog"), Label(2, 3.5, "rain", high_hz=4000), Label(5, 6.25, "dog", 20, 900)]


def label_seeds() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        names = ("labels.txt", "labels.selections.txt")
        written = {name: write_labels(LABELS_OF_THREE, Path(folder, name)).read_bytes() for name in names}
    table = 'start;end;label;fmin;fmax\n0,5;0:02;dog;;\n2;3.5;"rain";20;4000\n'
    grids = {"long.TextGrid": LONG_GRID.encode("utf-16"), "short.TextGrid": SHORT_GRID.encode()}
    return {**written, "labels.csv": table.encode(), **grids}


def odd_labels(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """Put a piece of another file, or what no file should have, in the place of a word; or damage the bytes."""
    if rng.random() < 0.3:
        return mutated(content, rng, others)
    words = re.split(rb"([\t\n;,]+)", content)
    pieces = [*re.split(rb"([\t\n;,]+)", rng.choice(others)), b"-1", b"1e999", b"nan", b"9" * 5000, b'"', b"\\", b"!"]
    for _ in range(rng.choice([1, 1, 2, 4])):
        words[rng.randrange(len(words))] = rng.choice(pieces)
    return b"".join(words)


def take_labels(path: Path) -> str:
    """Read labels; what is read is written and read again as it was, and what is refused is said in one line."""
    try:
        labels = read_labels(path)
    except LabelFileError as error:
        said_in_one_line(error)
        return _in_general(error, path)
    for name in ("again.txt", "again.selections.txt"):
        assert read_labels(write_labels(labels, path.with_name(name))) == labels
    return "read"


AUDIO = Target("audio", audio_seeds, mutated, read_sound)
MORE_AUDIO = Target("audio", more_audio_seeds, mutated, read_sound_as_ffmpeg_does)
DICTIONARIES = Target("dictionary", dictionary_seeds, forge, load_dictionary)
MANIFESTS = Target("manifest", manifest_seeds, odd_manifest, go_on_beside)
MASK_ESTIMATORS = Target("mask estimator", mask_estimator_seeds, odd_mask_estimator, take_from_cache)
REFERENCES = Target("reference", audio_seeds, mutated, score_against)
LABELS = Target("labels", label_seeds, odd_labels, take_labels)
UPLOADS = Target("upload", upload_seeds, odd_upload, bring_to_the_page)
EXPLORED = [MORE_AUDIO, DICTIONARIES, MANIFESTS, MASK_ESTIMATORS, REFERENCES, LABELS, UPLOADS]


@contextlib.contextmanager
def laid_out(name: str, content: bytes) -> Iterator[Path]:
    """Write a case to a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder, f"case{Path(name).suffix}")
        path.write_bytes(content)
        yield path
