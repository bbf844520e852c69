"""Whether application logs hold what they may not: `log_clean`."""

from __future__ import annotations

import glob
from pathlib import Path

from indelible.errors import UnreadableLogError
from indelible.invariants.facts import Judge
from indelible.invariants.verdicts import CANT_TELL, HOLDS, SHORT, Verdict
from indelible.logs.scan import Scan
from indelible.logs.scan_reading import read_blocks
from indelible.logs.scrub import Scrubber
from indelible.policy.invariants import LogClean


class LogCleanJudge(Judge[LogClean]):
    """See `LogClean`. Says kinds and places, never a value."""

    def verdict(self) -> Verdict:
        invariant = self._invariant
        scan = Scan(Scrubber())
        unread = []
        files = 0
        for pattern in invariant.files:
            found = sorted(glob.glob(str(self._facts.policy.directory / pattern), recursive=True))  # noqa: PTH207 - also absolute
            if not found:
                unread.append(f"no file is called {pattern}")
            for name in found:
                files += 1
                try:
                    with Path(name).open("rb", buffering=0) as file:
                        scan.look_through(name, read_blocks(file, name, lambda done: None))
                except OSError as error:
                    unread.append(f"{name}: {error.strerror}")
                except UnreadableLogError as error:
                    unread.append(str(error))
        exposures = [each for each in scan.exposures if each.data_class in invariant.classes]
        count = sum(each.count for each in exposures)
        said = f"{scan.lines} lines of {files} files were looked through"
        if count > invariant.tolerated:
            place = exposures[0].places[0]
            kinds = ", ".join(f"{each.count} {each.kind}" for each in exposures[:5])
            return Verdict(
                verdict=SHORT,
                words=f"{count} values are in the logs that may not be ({kinds}); the first: "
                f"{exposures[0].kind} ({exposures[0].data_class}) at {place.file}:{place.line}; "
                f"{said}",
                figure=float(count),
                required=float(invariant.tolerated),
            )
        if unread:
            return Verdict(verdict=CANT_TELL, words=f"{'; '.join(unread)}; {said}")
        return Verdict(
            verdict=HOLDS,
            words=f"nothing that the rules know of {', '.join(invariant.classes)}: {said}",
            figure=float(count),
            required=float(invariant.tolerated),
        )
