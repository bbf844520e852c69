"""Tiles and bundles: their layout, their paths, and how they grow."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.errors import IndelibleError
from indelible.tlog import (
    EMPTY_ROOT,
    MAX_ENTRY_BYTES,
    Frontier,
    Hash,
    Index,
    MalformedBundleError,
    MalformedFrontierError,
    MalformedTileError,
    RightEdge,
    Size,
    Tile,
    bundle_of_index,
    bundle_path,
    encode_bundle,
    new_tiles,
    node_hash,
    parse_bundle,
    parse_bundle_path,
    parse_tile_path,
    root_of,
    tile_path,
)

from .trees import MemoryTiles, leaves

POOL = leaves(3000)


def test_the_layout_of_256_entries() -> None:
    """A full tile, and its root as the first hash of the next level."""
    assert [tile_path(tile) for tile in new_tiles(Size(0), Size(256))] == [
        "tile/0/000",
        "tile/1/000.p/1",
    ]


def test_the_layout_of_70_000_entries() -> None:
    """273 full tiles, the right edge of each level, and nothing else."""
    paths = [tile_path(tile) for tile in new_tiles(Size(0), Size(70_000))]

    assert paths == [
        *(f"tile/0/{n:03d}" for n in range(273)),
        "tile/0/273.p/112",
        "tile/1/000",
        "tile/1/001.p/17",
        "tile/2/000.p/1",
    ]


def test_growing_makes_only_what_is_new() -> None:
    """From 255 to 257 entries the tile becomes full and the next begins; then nothing is left."""
    assert list(new_tiles(Size(255), Size(257))) == [Tile(0, 0), Tile(0, 1, 1), Tile(1, 0, 1)]
    assert list(new_tiles(Size(257), Size(257))) == []


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 1_234_067), "tile/0/x001/x234/067"),
        (Tile(0, 0, 1), "tile/0/000.p/1"),
        (Tile(63, 999), "tile/63/999"),
        (Tile(3, 1000, 255), "tile/3/x001/000.p/255"),
    ],
)
def test_the_path_of_a_tile(tile: Tile, path: str) -> None:
    """Paths are those of c2sp.org/tlog-tiles, and lead back to the tile."""
    assert tile_path(tile) == path
    assert parse_tile_path(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/000.p/256",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/999",
        "tile/0/x000/001",
        "tile/0/1",
        "tile/0/0000",
        "tile/00/000",
        "tile/64/000",
        "tile/0/001/x002",
        "tile/0/x001/x234/067/",
        "tile/0/٠٠٠",
        "tile/0/000\n",
        "/tile/0/000",
        "tile/0/../0/000",
        "tile/entries/000",
        "tile/-1/000",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
        "",
    ],
)
def test_a_second_spelling_of_a_path_is_no_path(path: str) -> None:
    """A request for anything but the one spelling is refused, traversal included."""
    with pytest.raises(MalformedTileError, match="tile path: expected"):
        parse_tile_path(path)
    if path != "tile/entries/000":
        with pytest.raises(MalformedTileError, match="bundle path: expected"):
            parse_bundle_path(path.replace("tile/0", "tile/entries"))


@given(st.text())
def test_any_text_is_a_path_or_our_error(text: str) -> None:
    """No input gets another exception out of the path parsers, and what parses is canonical."""
    for prefix in ("", "tile/0/", "tile/entries/"):
        with contextlib.suppress(MalformedTileError):
            assert tile_path(parse_tile_path(prefix + text)) == prefix + text
        with contextlib.suppress(MalformedTileError):
            assert bundle_path(*parse_bundle_path(prefix + text)) == prefix + text


@given(st.integers(0, 63), st.integers(0, 2**54), st.integers(1, 256))
def test_every_tile_has_a_path_of_its_own(level: int, n: int, width: int) -> None:
    """Formatting and parsing are inverse, for tiles and for bundles."""
    assert parse_tile_path(tile_path(Tile(level, n, width))) == Tile(level, n, width)
    assert parse_bundle_path(bundle_path(n, width)) == (n, width)


def test_an_index_says_in_which_bundle_its_entry_is() -> None:
    """The bundle, its width at this size, and the place in it."""
    assert bundle_of_index(Index(0), Size(1)) == (0, 1, 0)
    assert bundle_of_index(Index(255), Size(300)) == (0, 256, 255)
    assert bundle_of_index(Index(256), Size(300)) == (1, 44, 0)
    for index in (-1, 300, 301, 10_000):
        with pytest.raises(MalformedTileError, match="size 300"):
            bundle_of_index(Index(index), Size(300))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 700), max_size=6))
def test_tiles_don_t_depend_on_the_batches(batches: list[int]) -> None:
    """However entries are cut into batches, the same tiles and the same root come out."""
    piecewise = MemoryTiles()
    size = 0
    for batch in batches:
        before = piecewise.edge
        growth = before.append(POOL[size : size + batch])
        assert [tile for tile, _ in growth.tiles] == list(new_tiles(before.size, growth.edge.size))
        piecewise.append(POOL[size : size + batch])
        size = piecewise.edge.size

    at_once = MemoryTiles(POOL[:size])
    assert piecewise.edge == at_once.edge
    assert piecewise.rows == at_once.rows
    assert piecewise.edge.root == root_of(POOL[:size])


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 511, 512, 2999, 65_535, 65_536, 65_793])
def test_a_right_edge_is_restored_from_its_tiles(size: int) -> None:
    """A sequencer that starts again goes on as if it had never stopped, reading a tile a level."""
    tiles = MemoryTiles(leaves(size))

    restored = RightEdge.restore(tiles, Size(size), tiles.edge.root)

    assert restored == tiles.edge
    assert len(tiles.reads) <= 3
    assert restored.append(POOL).tiles == tiles.edge.append(POOL).tiles


def test_a_right_edge_that_hashes_to_another_root_is_refused() -> None:
    """Nothing is ever appended to tiles that aren't those that were signed."""
    tiles = MemoryTiles(leaves(1000))
    root = tiles.edge.root
    tiles.rows[0, 3] = bytes(32) + tiles.rows[0, 3][32:]

    with pytest.raises(MalformedTileError, match=f"size 1000: expected root {root.hex()}"):
        RightEdge.restore(tiles, Size(1000), root)


def test_a_tile_s_hashes_are_the_roots_of_the_tiles_under_it() -> None:
    """Each hash of a level is the root of one full tile of the level below."""
    tiles = MemoryTiles(leaves(70_000))
    for n in range(273):
        row = tiles.rows[0, n]
        root = root_of([Hash(row[at : at + 32]) for at in range(0, 8192, 32)])
        assert tiles.rows[1, n // 256][n % 256 * 32 :][:32] == root


def test_appending_leaves_the_old_edge_as_it_was() -> None:
    """A batch whose transaction failed is forgotten by keeping the edge from before."""
    before = RightEdge().append(POOL[:300]).edge
    root = before.root

    before.append(POOL[300:900])

    assert before.size == 300
    assert before.root == root
    assert before.append(POOL[300:301]).edge.root == root_of(POOL[:301])


def test_small_roots_are_those_of_the_definition() -> None:
    """RFC 6962's definition, written out for no entry, one, two and three."""
    first, second, third = POOL[:3]

    assert root_of([]) == EMPTY_ROOT
    assert root_of([first]) == first
    assert root_of([first, second]) == node_hash(first, second)
    assert root_of([first, second, third]) == node_hash(node_hash(first, second), third)


@pytest.mark.parametrize(
    ("size", "peaks"), [(1, ()), (0, (POOL[0],)), (-1, (POOL[0],)), (2, (Hash(b"short"),))]
)
def test_a_frontier_has_as_many_peaks_as_its_size_has_bits(
    size: int, peaks: tuple[Hash, ...]
) -> None:
    """A frontier restored with the wrong hashes isn't one."""
    with pytest.raises(MalformedFrontierError, match=f"size {size}: expected"):
        Frontier(Size(size), peaks)


def test_a_leaf_that_is_no_hash_is_refused() -> None:
    """An entry passed where its hash belongs doesn't get into the tree."""
    with pytest.raises(MalformedFrontierError, match="32 bytes each"):
        RightEdge().append([POOL[0], Hash(b"an entry")])


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=256))
def test_a_bundle_gives_back_its_entries(entries: list[bytes]) -> None:
    """Entries of any bytes, empty ones too, come back as they went in."""
    assert parse_bundle(encode_bundle(entries), len(entries)) == entries


@given(st.binary(max_size=200), st.integers(0, 256))
def test_any_bytes_are_a_bundle_or_our_error(raw: bytes, width: int) -> None:
    """No bytes get another exception out of the parser, and what parses is canonical."""
    try:
        entries = parse_bundle(raw, width)
    except MalformedBundleError:
        return
    assert len(entries) == width
    assert (encode_bundle(entries) if entries else b"") == raw


@pytest.mark.parametrize(
    ("raw", "width", "message"),
    [
        (
            encode_bundle([b"a"] * 256) + encode_bundle([b"b"]),
            256,
            "after 256 entries, came 3 more",
        ),
        (encode_bundle([b"a", b"b"]), 1, "after 1 entries, came 3 more"),
        (encode_bundle([b"a"]), 2, "expected 2 entries, came 1"),
        (encode_bundle([b"a"]) + b"\x00", 2, "expected 2 entries, came 1 and 1 bytes"),
        (encode_bundle([b"abc"])[:-1], 1, "entry 0: expected 3 bytes, came 2"),
        (b"", 1, "expected 1 entries, came 0"),
    ],
)
def test_a_bundle_of_other_than_the_signed_number_is_refused(
    raw: bytes, width: int, message: str
) -> None:
    """Entries too many, too few or cut short are named."""
    with pytest.raises(MalformedBundleError, match=message):
        parse_bundle(raw, width)


def test_a_bundle_holds_entries_to_65_535_bytes() -> None:
    """The largest entry fits; one byte more, no entries, or 257 of them are refused."""
    largest = bytes(MAX_ENTRY_BYTES)
    assert parse_bundle(encode_bundle([largest, b"next"]), 2) == [largest, b"next"]

    for entries in ([b"", largest + b"\x00"], [], [b""] * 257):
        with pytest.raises(IndelibleError, match="expected"):
            encode_bundle(entries)
