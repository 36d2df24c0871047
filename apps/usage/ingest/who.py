"""The columns of who did it: person, team and tags of each event."""

from uuid import UUID

import msgspec
import numpy as np
import numpy.typing as npt

from apps.projects.contracts import KeyContext
from apps.usage.contracts import PersonRef
from apps.usage.ingest.attribution import Directory
from apps.usage.ingest.batch import Columns, Places
from apps.usage.ingest.frame import WhoKey
from apps.usage.ingest.rules import json_text

__all__ = ["attribute", "tags_of"]

MAX_TAG_VALUE = 200
Tags = tuple[tuple[str, str], ...] | None
# A who without its tags.
_Head = tuple[bytes | None, bytes | None, bytes | None, bytes | None]
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def attribute(
    columns: Columns, key: KeyContext, directory: Directory, records: npt.NDArray[np.void]
) -> tuple[list[WhoKey], list[tuple[bytes, str, str]]]:
    """Fill ``who``; the batch's distinct (project, team, person, key, tags) and the unclaimed people among them."""
    people: dict[UUID, PersonRef] = {}
    rules = key.rules
    if columns.telemetry and (rules is None or rules.email_attribution):
        names = list(zip(columns["user_id"], columns["user_email"], columns["user_name"], strict=True))
        places = Places()
        index = np.fromiter(map(places.__getitem__, names), dtype=np.int64, count=columns.count)
        persons = [_person_of_telemetry(*triple, key=key, directory=directory, people=people) for triple in places]
    else:
        places, index = columns.coded("user_id")
        persons = [directory.person_of_user(name, key) for name in places]
    defaults = rules.default_tags if rules is not None else ()
    heads = _heads(persons, key, directory)
    whos: dict[WhoKey, int] = {}
    if not directory.tag_keys:
        where = [whos.setdefault((*head, None), len(whos)) for head in heads]
        if len(whos) > 1:
            records["who"] = index if len(whos) == len(persons) else np.array(where)[index]
    else:
        tags = tags_of(columns.metadata_texts, directory.tag_keys, defaults)
        records["who"] = [
            whos.setdefault((*heads[place], tag), len(whos)) for place, tag in zip(index.tolist(), tags, strict=True)
        ]
    return list(whos), [(ref.id.bytes, ref.email, ref.name) for ref in people.values()]


def _heads(persons: list[UUID | None], key: KeyContext, directory: Directory) -> list[_Head]:
    """Project, team, person and key of each person's events.

    Bytes are looked up and compared ten times as fast as a UUID, whose methods are Python's.
    """
    project, key_id, given = key.project_id.bytes, key.key_id.bytes, key.team_id or key.project_team_id
    if given is not None:
        team = given.bytes
        return [(project, team, person.bytes if person else None, key_id) for person in persons]
    teams = [directory.team_of(person, key) for person in persons] if directory.primary_team else [None] * len(persons)
    return [
        (project, team.bytes if team else None, person.bytes if person else None, key_id)
        for person, team in zip(persons, teams, strict=True)
    ]


def _person_of_telemetry(
    user_id: str | None,
    email: str | None,
    label: str | None,
    *,
    key: KeyContext,
    directory: Directory,
    people: dict[UUID, PersonRef],
) -> UUID | None:
    if user_id is not None and (member := directory.member(user_id)) is not None:
        return member
    person, ref = directory.person_of_telemetry(email, label, key)
    if ref is not None:
        people[ref.id] = ref
    return person


def tags_of(metadata: list[bytes], keys: tuple[str, ...], defaults: tuple[tuple[str, str], ...] = ()) -> list[Tags]:
    """The registered tags in each event's metadata, and those of ``defaults`` that it lacks; each text is read once."""
    lacking = {key: value for key, value in defaults if key in keys}
    seen: dict[bytes, Tags] = {b"": tuple((k, lacking[k]) for k in keys if k in lacking) or None}
    for raw in metadata:
        if raw not in seen:
            data = _object.decode(raw)
            found = {k: text for k in keys if k in data and (text := _tag_text(bytes(data[k])))}
            seen[raw] = tuple((k, (lacking | found)[k]) for k in keys if k in found or k in lacking) or None
    return [seen[raw] for raw in metadata]


def _tag_text(raw: bytes) -> str:
    """What a value counts as; ``""`` is none."""
    if raw == b"null":
        return ""
    return json_text(raw).replace("\0", "")[:MAX_TAG_VALUE]
