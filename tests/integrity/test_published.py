"""What others may read of a trail: exactly what its last signed checkpoint covers."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.errors import VerificationError
from indelible.integrity.faults import MissingEntryError
from indelible.integrity.published import PublishedTrail
from indelible.integrity.resources import (
    Kind,
    MalformedBodiesError,
    NotPublishedError,
    Resource,
    encode_bodies,
    format_path,
    most_bytes,
    new_resources,
    parse_bodies,
    parse_path,
)
from indelible.store.sqlite import SqliteTrail
from indelible.store.sqlite_file import open_connection
from indelible.testing.tamper import replace_checkpoint
from indelible.tlog import (
    Algorithm,
    MalformedTileError,
    SigningKey,
    Size,
    Tile,
    add_signatures,
    cosign_note,
    format_note,
    leaf_hash,
    open_checkpoint,
    parse_bundle,
    parse_note,
    root_of,
    sign_checkpoint,
)
from tests.integrity.trails import ORIGIN, Maker

TILES = st.builds(Tile, st.integers(0, 3), st.integers(0, 2**40), st.integers(1, 256))
RESOURCES = st.one_of(
    st.builds(Resource, st.just(Kind.TILE), TILES),
    st.builds(
        Resource,
        st.sampled_from((Kind.HEADS, Kind.BODIES)),
        st.builds(Tile, st.just(0), st.integers(0, 2**40), st.integers(1, 256)),
    ),
)
BODIES = st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.binary(max_size=300)))


@given(RESOURCES)
def test_a_path_says_what_it_is_of(resource: Resource) -> None:
    """Each resource has one path, which leads back to it."""
    assert parse_path(format_path(resource)) == resource


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile",
        "tile/0/0",
        "tile/0/x000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/000/",
        "tile/0/x000/001",
        "tile/0/٠٠٠",
        "tile/entries/1",
        "bodies/../checkpoint",
        "bodies/tile/entries/000",
        "tile/0/000\n",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
    ],
)
def test_any_other_path_is_nothing(path: str) -> None:
    """A second spelling, or a place that no tree has, is refused as not being there."""
    with pytest.raises(NotPublishedError):
        parse_path(path)


@given(st.text() | st.from_regex(r"(tile|bodies)/[0-9x./p]{0,40}"))
def test_whatever_the_path_it_is_ours_or_refused(path: str) -> None:
    """No text makes another error than our own."""
    with contextlib.suppress(NotPublishedError):
        assert format_path(parse_path(path)) == path


@given(BODIES.filter(lambda bodies: 1 <= len(bodies) <= 256))
def test_bodies_come_back_as_they_went(bodies: list[tuple[bytes, bytes]]) -> None:
    """Salt and body of each entry, for exactly so many entries."""
    raw = encode_bodies(bodies)
    assert parse_bodies(raw, len(bodies)) == bodies
    for other in (len(bodies) - 1, len(bodies) + 1):
        with pytest.raises(MalformedBodiesError):
            parse_bodies(raw, other)


@given(st.binary(max_size=400), st.integers(1, 256))
def test_other_bytes_are_no_bodies(raw: bytes, width: int) -> None:
    """Cut, glued or made up: refused, or exactly what they say."""
    with contextlib.suppress(MalformedBodiesError):
        assert encode_bodies(parse_bodies(raw, width)) == raw


def test_what_can_t_be_framed_is_refused() -> None:
    """No bundle of none, none of a salt that is no salt, none of a body that is too long."""
    for bodies in ([], [(b"", b"x")], [(b"s" * 16, b"x" * 65_536)]):
        with pytest.raises(MalformedBodiesError):
            encode_bodies(bodies)


def test_all_that_is_published_leads_to_the_signed_root(maker: Maker) -> None:
    """Leaves of all heads are the root; salts and bodies are what the heads commit to."""
    maker.fill([400, 300])
    tree = PublishedTrail(maker.store).current()
    size = tree.checkpoint.size
    heads: list[bytes] = []
    for resource in new_resources(Size(0), size):
        raw = tree.read(resource)
        assert len(raw) <= most_bytes(resource)
        if resource.kind is Kind.HEADS:
            heads += parse_bundle(raw, resource.tile.width)
            bodies = parse_bodies(
                tree.read(resource._replace(kind=Kind.BODIES)), resource.tile.width
            )
            assert [body for _, body in bodies] == [
                entry.body
                for entry in maker.store.entries(len(heads) - len(bodies), len(heads) - 1)
            ]
    assert size == len(heads) == 702
    assert root_of(list(map(leaf_hash, heads))) == tree.checkpoint.root
    assert next(iter(maker.store.committed(700, 10_000))).head == heads[700]


def test_nothing_beyond_the_signed_size_is_shown(maker: Maker) -> None:
    """Entries that are sequenced and not signed yet are nobody's to see, nor are their tiles."""
    maker.fill([400])
    signed = maker.store.state()
    assert signed.checkpoint is not None
    maker.fill([300])
    replace_checkpoint(maker.path, signed.checkpoint)
    tree = PublishedTrail(maker.store).current()
    assert (tree.checkpoint.size, maker.store.size) == (401, 702)
    for kind in Kind:
        tree.read(Resource(kind, Tile(0, 1, 145)))
        for beyond in (Tile(0, 1, 146), Tile(0, 1), Tile(0, 2, 1)):
            with pytest.raises(NotPublishedError, match="of the tree of size 401"):
                tree.read(Resource(kind, beyond))
    with pytest.raises(NotPublishedError):
        tree.read_tile(Tile(1, 0, 2))
    assert len(tree.read_tile(Tile(1, 0, 1))) == 32


def test_a_narrower_tile_is_the_beginning_of_the_wider_one(maker: Maker) -> None:
    """A reader of an older checkpoint is answered, for every width that a checkpoint had."""
    maker.fill([400])
    tree = PublishedTrail(maker.store).current()
    for kind in (Kind.TILE, Kind.HEADS):
        whole = tree.read(Resource(kind, Tile(0, 1, 145)))
        for width in (1, 17, 144):
            assert whole.startswith(tree.read(Resource(kind, Tile(0, 1, width))))
    full = tree.read(Resource(Kind.TILE, Tile(0, 0)))
    assert tree.read(Resource(Kind.TILE, Tile(0, 0, 255))) == full[:-32]


def test_before_the_first_checkpoint_there_is_nothing(tmp_path: Path) -> None:
    """A trail that no sequencer opened yet has nothing to show."""
    vkey = str(SigningKey.generate(ORIGIN).verifier_key)
    store = SqliteTrail.create(tmp_path / "t.db", origin=ORIGIN, vkey=vkey, source_id="f" * 16)
    with contextlib.closing(store), pytest.raises(NotPublishedError, match="none yet"):
        PublishedTrail(store).current()


def test_a_checkpoint_that_isn_t_the_trail_s_is_not_passed_on(maker: Maker) -> None:
    """What somebody put in its place is refused before a reader sees it."""
    maker.fill([10])
    trail = PublishedTrail(maker.store)
    note = trail.current().note
    stranger = SigningKey.generate(ORIGIN)
    forged = sign_checkpoint(trail.current().checkpoint, stranger)
    for other in (b"", forged, note.replace(b"11\n", b"12\n"), note.replace(b"com", b"org")):
        replace_checkpoint(maker.path, other)
        with pytest.raises(VerificationError):
            trail.current()
    replace_checkpoint(maker.path, note)
    assert trail.current().checkpoint.size == 11


def test_a_tile_that_was_cut_is_not_passed_on(maker: Maker) -> None:
    """Nor a bundle whose entries aren't all there: damage is found before a reader does."""
    maker.fill([300])
    tree = PublishedTrail(maker.store).current()
    with contextlib.closing(open_connection(maker.path)) as connection:
        connection.execute("UPDATE tile SET hashes = substr(hashes, 1, 64) WHERE id = 1")
        connection.execute("DELETE FROM block WHERE n = 1")
    with pytest.raises(MalformedTileError, match=r"tile/0/001.p/45: expected 1440 bytes, came 64"):
        tree.read(Resource(Kind.TILE, Tile(0, 1, 45)))
    with pytest.raises(MissingEntryError, match="index 256: the checkpoint covers 301 entries"):
        tree.read(Resource(Kind.HEADS, Tile(0, 1, 45)))


def test_a_cosigned_checkpoint_is_passed_on_as_it_is(maker: Maker) -> None:
    """Witnesses' signatures under the trail's own are for the reader to judge."""
    maker.fill([10])
    note = parse_note(PublishedTrail(maker.store).current().note)
    witness = SigningKey.generate("witness.example/w", Algorithm.COSIGNATURE_V1)
    cosigned = format_note(add_signatures(note, [cosign_note(note.text, witness, time=1)]))
    replace_checkpoint(maker.path, cosigned)
    tree = PublishedTrail(maker.store).current()
    assert tree.note == cosigned
    opened = open_checkpoint(
        tree.note,
        origin=ORIGIN,
        log_key=maker.key.verifier_key,
        witness_keys=[witness.verifier_key],
    )
    assert [each.key for each in opened.cosignatures] == [witness.verifier_key]
