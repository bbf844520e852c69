"""A process that appends from many threads and says each id that it was given, until killed.

Usage: python appending_process.py DIRECTORY THREADS MAX_FILE_BYTES
"""

import os
import sys
import threading
from pathlib import Path

from indelible.events.codec import encode_draft
from indelible.events.model import Event
from indelible.transport.journal import Journal


def main() -> None:
    directory, threads, max_file_bytes = sys.argv[1:]
    journal = Journal(Path(directory), max_file_bytes=int(max_file_bytes))

    def work(thread: int) -> None:
        number = 0
        while True:
            number += 1
            size = 40_000 if number % 97 == 0 else 100_000 if number % 193 == 0 else number % 200
            event = Event(
                action="invoice.read", kind="access", reason=f"{thread}/{number}" + "x" * size
            )
            event_id = journal.append(encode_draft(event))
            os.write(1, f"{event_id}\n".encode())
            if number % 50 == 0:
                journal.sync()

    for thread in range(int(threads)):
        threading.Thread(target=work, args=(thread,)).start()


if __name__ == "__main__":
    main()
