// Command checkserved judges what a trail serves with the packages of transparency-dev.
//
//	checkserved VKEY CHECKPOINT [PROOF LEAF]...
//
// CHECKPOINT, PROOF and LEAF are files: a signed note, a tlog-proof, and the bytes of the entry that
// it is of. It exits 0 when formats/log and formats/note open the checkpoint, and each proof, as
// formats/proof reads it, leads from its leaf to the root of the checkpoint that it holds.
package main

import (
	"fmt"
	"os"

	"github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/formats/proof"
	merkle "github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

func openCheckpoint(signed []byte, vkey string) (*log.Checkpoint, error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, err
	}
	checkpoint, _, _, err := log.ParseCheckpoint(signed, verifier.Name(), verifier)
	return checkpoint, err
}

func checkProof(raw, leaf []byte, vkey string) error {
	var read proof.TLogProof
	if err := read.Unmarshal(raw); err != nil {
		return err
	}
	checkpoint, err := openCheckpoint(read.Checkpoint, vkey)
	if err != nil {
		return err
	}
	var hashes [][]byte
	for _, hash := range read.Hashes {
		hashes = append(hashes, hash[:])
	}
	hasher := rfc6962.DefaultHasher
	return merkle.VerifyInclusion(
		hasher, read.Index, checkpoint.Size, hasher.HashLeaf(leaf), hashes, checkpoint.Hash)
}

func check(vkey string, files [][]byte) error {
	checkpoint, err := openCheckpoint(files[0], vkey)
	if err != nil {
		return err
	}
	for n := 1; n+1 < len(files); n += 2 {
		if err := checkProof(files[n], files[n+1], vkey); err != nil {
			return fmt.Errorf("proof %d: %w", n/2, err)
		}
	}
	fmt.Printf("size %d, %d proofs\n", checkpoint.Size, len(files)/2)
	return nil
}

func main() {
	var files [][]byte
	for _, name := range os.Args[2:] {
		file, err := os.ReadFile(name)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		files = append(files, file)
	}
	if err := check(os.Args[1], files); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
