"""Foundations of all packages that no user needs: devices, files, worker processes, checks of settings."""

INTERNAL_API = {
    "sepdict._core.cache": ("cache_folder",),
    "sepdict._core.devices": ("AUTO", "choose_device", "describe_device"),
    "sepdict._core.fs": (
        "refuse_existing",
        "scratch_folder",
        "sha256_of",
        "to_json",
        "writable_folder",
        "write_atomically",
    ),
    "sepdict._core.names": ("RESIDUAL", "file_names", "normalized", "refuse_unwritable", "visible"),
    "sepdict._core.on_demand": ("load_extra", "why"),
    "sepdict._core.processes": ("Outcome", "Send", "Worker"),
    "sepdict._core.times": ("parse_time",),
    "sepdict.audio.decoding": ("likely_duration_s",),
    "sepdict.audio.discovery": ("AUDIO_EXTENSIONS", "find_audio_files"),
    "sepdict.audio.ffmpeg": ("find_program",),
    "sepdict.audio.io": ("open_audio", "probe_audio"),
    "sepdict.audio.labels": ("format_labels", "parse_labels"),
    "sepdict.audio.marks": ("moments_by_source",),
    "sepdict.audio.parts": ("Part", "find_parts", "refuse_overlaps"),
    "sepdict.audio.writing": ("copy_audio", "writing_stems"),
    "sepdict.batch.executors": ("connected", "executor_of"),
    "sepdict.batch.layout": ("find_mixtures",),
    "sepdict.batch.resume": ("results_if_all_kept",),
    "sepdict.batch.run": ("separate_files",),
    "sepdict.batch.training": ("Trained", "TrainingTask", "read_recordings", "train_one"),
    "sepdict.batch.verification": ("check_folder",),
    "sepdict.dictionaries.card": ("Card",),
    "sepdict.dictionaries.dictionary": ("refuse_unfit",),
    "sepdict.dictionaries.header": ("read_checksum",),
    "sepdict.dictionaries.library": ("EXTENSION", "find_dictionary", "installed", "library_folder"),
    "sepdict.marking.learning": ("MarkingConfig", "learn_from_labels"),
    "sepdict.reports.media": ("look_at", "loudest", "spectrogram"),
    "sepdict.reports.separation_report": ("evaluation_page",),
    "sepdict.separation.config": ("SEGMENT_S", "Quality"),
    "sepdict.separation.engine": ("separate_in_blocks", "stem_names"),
    "sepdict.separation.plan": ("plan_separation",),
    "sepdict.training.data": ("LEAST_SOUND_S",),
    "sepdict.training.recording_checks": ("LITTLE_S", "check_recordings"),
    "sepdict.web.server": ("Settings", "create_app"),
}
"""The names that the front ends, sepdict_cli and sepdict.web, may import beside the public ones of `sepdict`.

A change of one of these may need a change in the front ends. A test holds that they import nothing else.
"""
