// Command verifyexport checks an exported trail with Go's own transparency-log packages.
//
//	verifyexport SOURCE VKEY
//
// SOURCE is a directory, or the URL that ends in a slash of a server, of checkpoint,
// tile/<level>/<n> and tile/entries/<n> as c2sp.org/tlog-tiles lays them out. It exits 0 when the checkpoint is signed by VKEY, every entry of every bundle hashes to its
// tile, every tile to the root, and record and tree proofs read from the tiles hold.
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	height = 8
	full   = 1 << height
)

// source reads tiles as the reference TileHashReader asks for them.
type source string

func (s source) Height() int                     { return height }
func (s source) SaveTiles([]tlog.Tile, [][]byte) {}

func (s source) ReadTiles(tiles []tlog.Tile) (rows [][]byte, err error) {
	for _, tile := range tiles {
		row, err := s.read(tile, fmt.Sprintf("tile/%d", tile.L))
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// read gives a tile's bytes; Go's own path is the same but for its height and name for entries.
func (s source) read(tile tlog.Tile, kind string) ([]byte, error) {
	place := strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/%d/", height, tile.L))
	return s.get(kind + "/" + place)
}

func (s source) get(path string) ([]byte, error) {
	if !strings.HasPrefix(string(s), "http://") {
		return os.ReadFile(filepath.Join(string(s), path))
	}
	answer, err := http.Get(string(s) + path)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, answer.Status)
	}
	return content, err
}

func openCheckpoint(s source, vkey string) (tree tlog.Tree, err error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return tree, err
	}
	signed, err := s.get("checkpoint")
	if err != nil {
		return tree, err
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return tree, err
	}
	// tlog.ParseTree wants the Go checksum database's own origin line; the two lines under it are the same.
	_, sizeAndRoot, _ := strings.Cut(opened.Text, "\n")
	return tlog.ParseTree([]byte("go.sum database tree\n" + sizeAndRoot))
}

// hashBundle returns the leaf hashes of a bundle that must hold exactly width entries.
func hashBundle(bundle []byte, width int) (row []byte, err error) {
	for entry := 0; entry < width; entry++ {
		if len(bundle) < 2 || len(bundle)-2 < int(binary.BigEndian.Uint16(bundle)) {
			return nil, fmt.Errorf("bundle ends in entry %d of %d", entry, width)
		}
		end := 2 + int(binary.BigEndian.Uint16(bundle))
		leaf := tlog.RecordHash(bundle[2:end])
		row, bundle = append(row, leaf[:]...), bundle[end:]
	}
	if len(bundle) != 0 {
		return nil, fmt.Errorf("%d bytes after the last of %d entries", len(bundle), width)
	}
	return row, nil
}

// rootOf is the root of a full tile: Go reads a tile's hashes up to its two halves.
func rootOf(tile tlog.Tile, row []byte) (root tlog.Hash, err error) {
	var halves [2]tlog.Hash
	for i := range halves {
		index := tlog.StoredHashIndex(height*tile.L+height-1, 2*tile.N+int64(i))
		if halves[i], err = tlog.HashFromTile(tile, row, index); err != nil {
			return root, err
		}
	}
	return tlog.NodeHash(halves[0], halves[1]), nil
}

// checkTiles re-hashes every entry, then every tile of every level from the tile under it.
func checkTiles(s source, tree tlog.Tree) error {
	for _, tile := range tlog.NewTiles(height, 0, tree.N) {
		stored, err := s.ReadTiles([]tlog.Tile{tile})
		if err != nil {
			return err
		}
		var row []byte
		if tile.L == 0 {
			bundle, err := s.read(tile, "tile/entries")
			if err != nil {
				return err
			}
			if row, err = hashBundle(bundle, tile.W); err != nil {
				return fmt.Errorf("bundle %d: %w", tile.N, err)
			}
		}
		for child := 0; tile.L > 0 && child < tile.W; child++ {
			under := tlog.Tile{H: height, L: tile.L - 1, N: tile.N*full + int64(child), W: full}
			stored, err := s.ReadTiles([]tlog.Tile{under})
			if err != nil {
				return err
			}
			root, err := rootOf(under, stored[0])
			if err != nil {
				return err
			}
			row = append(row, root[:]...)
		}
		if !bytes.Equal(row, stored[0]) {
			return fmt.Errorf("%s is not what is under it", tile.Path())
		}
	}
	return nil
}

// checkProofs builds proofs from the tiles (whose reader checks each against the root) and checks them.
func checkProofs(s source, tree tlog.Tree) error {
	hashes := tlog.TileHashReader(tree, s)
	root, err := tlog.TreeHash(tree.N, hashes)
	if err != nil {
		return err
	}
	if root != tree.Hash {
		return fmt.Errorf("root is %v, signed is %v", root, tree.Hash)
	}
	for n := int64(0); n < tree.N; n += 1 + tree.N/17 {
		leaf, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, n)})
		if err != nil {
			return err
		}
		record, err := tlog.ProveRecord(tree.N, n, hashes)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(record, tree.N, tree.Hash, n, leaf[0]); err != nil {
			return fmt.Errorf("record %d: %w", n, err)
		}
		old, err := tlog.TreeHash(n+1, hashes)
		if err != nil {
			return err
		}
		growth, err := tlog.ProveTree(tree.N, n+1, hashes)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(growth, tree.N, tree.Hash, n+1, old); err != nil {
			return fmt.Errorf("tree %d: %w", n+1, err)
		}
	}
	return nil
}

func main() {
	s := source(os.Args[1])
	tree, err := openCheckpoint(s, os.Args[2])
	for _, check := range []func(source, tlog.Tree) error{checkTiles, checkProofs} {
		if err == nil {
			err = check(s, tree)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("verified %d entries\n", tree.N)
}
