"""Where trials are recorded and read."""

from __future__ import annotations

from cogment_lab.store.clips import Segment
from cogment_lab.store.labels import Agreement, Label, LabelKind, Labels
from cogment_lab.store.preferences import Answer, PreferenceQueue, Query
from cogment_lab.store.query import TrialQuery
from cogment_lab.store.store import TrialStore
from cogment_lab.store.stream import TrialStream
from cogment_lab.store.stream_spec import AgentSpec, RecordMode, StreamSpec
from cogment_lab.store.transitions import Transitions
from cogment_lab.store.trial_data import Timestamps, TrialData, concatenate
from cogment_lab.store.trial_info import StoreStats, TrialEvent, TrialInfo

__all__ = [
    "AgentSpec",
    "Agreement",
    "Answer",
    "Label",
    "LabelKind",
    "Labels",
    "PreferenceQueue",
    "Query",
    "RecordMode",
    "Segment",
    "StoreStats",
    "StreamSpec",
    "Timestamps",
    "Transitions",
    "TrialData",
    "TrialEvent",
    "TrialInfo",
    "TrialQuery",
    "TrialStore",
    "TrialStream",
    "concatenate",
]
