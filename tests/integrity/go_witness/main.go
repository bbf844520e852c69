// Command checkcosigned judges a checkpoint under a trust policy with the packages of torchwood.
//
//	checkcosigned POLICY CHECKPOINT
//
// Both are files: a tlog-policy and a signed note. It exits 0 when the policy's tlog signed the
// checkpoint and a quorum of its witnesses cosigned it.
package main

import (
	"fmt"
	"os"

	"filippo.io/torchwood"
)

func check(policyFile, checkpointFile string) error {
	text, err := os.ReadFile(policyFile)
	if err != nil {
		return err
	}
	policy, err := torchwood.ParsePolicy(text)
	if err != nil {
		return err
	}
	signed, err := os.ReadFile(checkpointFile)
	if err != nil {
		return err
	}
	checkpoint, note, err := torchwood.VerifyCheckpoint(signed, policy)
	if err != nil {
		return err
	}
	fmt.Printf("size %d, %d signatures\n", checkpoint.N, len(note.Sigs))
	return nil
}

func main() {
	if err := check(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
