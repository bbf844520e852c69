"""`python -m tests.erasure.eraser KEYSTORE MASTER TOKEN` erases; `strace` kills it meanwhile."""

from __future__ import annotations

import sys
from pathlib import Path

from indelible.store.keystore import Keystore

if __name__ == "__main__":
    keystore = Keystore(Path(sys.argv[1]), Path(sys.argv[2]))
    keystore.erase(sys.argv[3], nonce="n", time="t")
