-- name: create_trail
INSERT INTO trail (only, origin, vkey, source_id, size, root) VALUES (1, ?, ?, ?, 0, ?)
-- name: create_lease
INSERT INTO lease (only, epoch, holder, heard) VALUES (1, 0, '', 0)
-- name: trail
SELECT origin, vkey, source_id, size, root, checkpoint FROM trail
-- name: put_vkey
UPDATE trail SET vkey = ?
-- name: size
SELECT size FROM trail
-- name: take_lease
UPDATE lease SET epoch = epoch + 1, holder = :holder, heard = :now
WHERE holder = '' OR heard <= :now - :patience OR heard > :now + :patience
-- name: lease_epoch
SELECT epoch FROM lease
-- name: lease_holder
SELECT holder, heard FROM lease
-- name: hold_lease
UPDATE lease SET heard = ? WHERE epoch = ?
-- name: drop_lease
UPDATE lease SET holder = '', heard = 0 WHERE epoch = ?
-- name: grow
UPDATE trail SET size = ?, root = ?
-- name: store_checkpoint
UPDATE trail SET checkpoint = ?
-- name: put_cosignature
INSERT INTO witness (vkey, size, time, note, fault, contradicts) VALUES (?, ?, ?, ?, '', 0)
ON CONFLICT (vkey) DO UPDATE SET
  size = excluded.size, time = excluded.time, note = excluded.note, fault = '', contradicts = 0
  WHERE excluded.size >= witness.size
-- name: put_witness_fault
INSERT INTO witness (vkey, size, time, note, fault, contradicts) VALUES (?, 0, 0, NULL, ?, ?)
ON CONFLICT (vkey) DO UPDATE SET fault = excluded.fault, contradicts = excluded.contradicts
  WHERE (fault, contradicts) IS NOT (excluded.fault, excluded.contradicts)
-- name: witnesses
SELECT vkey, size, time, note, fault, contradicts FROM witness ORDER BY vkey
-- name: put_anchored
INSERT INTO anchor (name, size, time, note, receipt, outside, fault, contradicts)
VALUES (?, ?, ?, ?, ?, ?, '', 0)
ON CONFLICT (name) DO UPDATE SET
  size = excluded.size, time = excluded.time, note = excluded.note, receipt = excluded.receipt,
  outside = excluded.outside, fault = '', contradicts = 0
  WHERE excluded.size >= anchor.size
-- name: put_anchor_fault
INSERT INTO anchor (name, size, time, note, receipt, outside, fault, contradicts)
VALUES (?, 0, 0, NULL, x'', 0, ?, ?)
ON CONFLICT (name) DO UPDATE SET fault = excluded.fault, contradicts = excluded.contradicts
  WHERE (fault, contradicts) IS NOT (excluded.fault, excluded.contradicts)
-- name: anchors
SELECT name, size, time, note, receipt, outside, fault, contradicts FROM anchor ORDER BY name
-- name: put_block
INSERT OR REPLACE INTO block
  (n, count, min_time, max_time, doubtful, stems, salts, frame0, frame1, frame2, frame3)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
-- name: block
SELECT n, count, min_time, max_time, doubtful, stems, salts, frame0, frame1, frame2, frame3, sealed
FROM block WHERE n = ?
-- name: frame
SELECT
  CASE WHEN max_time < ?3 OR min_time >= ?4 THEN NULL ELSE
    CASE ?1 WHEN 0 THEN frame0 WHEN 1 THEN frame1 WHEN 2 THEN frame2 ELSE frame3 END END,
  doubtful, max_time < ?3 OR min_time >= ?4, sealed
FROM block WHERE n = ?2
-- name: blocks_in
SELECT n FROM block
WHERE n BETWEEN ? AND ? AND max_time >= ? AND min_time < ? ORDER BY n LIMIT ?
-- name: blocks_in_newest_first
SELECT n FROM block
WHERE n BETWEEN ? AND ? AND max_time >= ? AND min_time < ? ORDER BY n DESC LIMIT ?
-- name: put_tile
INSERT OR REPLACE INTO tile (id, hashes) VALUES (?, ?)
-- name: tile
SELECT hashes FROM tile WHERE id = ?
-- name: put_run
INSERT INTO run (id, first, last, refs, min_time, max_time, directory) VALUES (?, ?, ?, ?, ?, ?, ?)
-- name: put_page
INSERT INTO page (id, data) VALUES (?, ?)
-- name: drop_run
DELETE FROM run WHERE id = ?
-- name: drop_pages
DELETE FROM page WHERE id BETWEEN ? AND ?
-- name: next_run
SELECT coalesce(max(id) + 1, 0) FROM run
-- name: runs
SELECT id, first, last, refs, min_time, max_time, directory FROM run ORDER BY first
-- name: runs_newest_first
SELECT id, first, last, refs, directory FROM run ORDER BY first DESC
-- name: runs_in
SELECT id, first, last, directory FROM run
WHERE first BETWEEN (SELECT coalesce(max(first), 0) FROM run WHERE first <= ?1) AND ?2
  AND max_time >= ?3 AND min_time < ?4 ORDER BY first LIMIT ?5
-- name: runs_in_newest_first
SELECT id, first, last, directory FROM run
WHERE first BETWEEN (SELECT coalesce(max(first), 0) FROM run WHERE first <= ?1) AND ?2
  AND max_time >= ?3 AND min_time < ?4 ORDER BY first DESC LIMIT ?5
-- name: indexed
SELECT coalesce(max(last) + 1, 0) FROM run
-- name: page
SELECT data FROM page WHERE id = ?
-- name: pages_of_run
SELECT data FROM page WHERE id BETWEEN ? AND ? ORDER BY id
-- name: put_batch
INSERT INTO batch (first, last, time) VALUES (?, ?, ?)
-- name: batch_of
SELECT first, last, time FROM batch WHERE first <= ? ORDER BY first DESC LIMIT 1
-- name: batches
SELECT first, last, time FROM batch
WHERE first >= (SELECT coalesce(max(first), 0) FROM batch WHERE first <= :first)
  AND first > :after ORDER BY first LIMIT 1000
-- name: source
SELECT ranges, last_time, latest FROM source WHERE producer = ? AND epoch = ?
-- name: put_source
INSERT OR REPLACE INTO source (producer, epoch, ranges, last_time, latest, received_at)
VALUES (?, ?, ?, ?, ?, ?)
-- name: sources
SELECT producer, epoch, ranges, last_time, received_at FROM source ORDER BY producer, epoch
-- name: last_epoch
SELECT coalesce(max(epoch), 0) FROM source WHERE producer = ?
-- name: last_span
SELECT first_seq, first_index, count FROM span
WHERE producer = ? AND epoch = ? AND first_seq <= ? ORDER BY first_seq DESC LIMIT 1
-- name: widen_span
UPDATE span SET count = ? WHERE producer = ? AND epoch = ? AND first_seq = ?
-- name: put_span
INSERT INTO span (producer, epoch, first_seq, first_index, count) VALUES (?, ?, ?, ?, ?)
-- name: put_conflict
INSERT INTO conflict (idx, producer, epoch, seq) VALUES (?, ?, ?, ?)
-- name: conflicts_at
SELECT idx FROM conflict WHERE producer = ? AND epoch = ? AND seq = ? ORDER BY idx
-- name: conflicts
SELECT idx, producer, epoch, seq FROM conflict WHERE idx >= ? ORDER BY idx
-- name: last_position
SELECT max(
  coalesce((SELECT max(first_seq + count - 1) FROM span WHERE producer = :producer AND epoch = :epoch), 0),
  coalesce((SELECT max(seq) FROM quarantine WHERE producer = :producer AND epoch = :epoch), 0)
)
-- name: put_gap
INSERT INTO gap (idx, producer, epoch, first, last) VALUES (?, ?, ?, ?, ?)
-- name: gaps
SELECT first, last FROM gap WHERE producer = ? AND epoch = ? ORDER BY first, last
-- name: put_quarantined
INSERT INTO quarantine (idx, producer, epoch, seq, bodies, reason) VALUES (?, ?, ?, ?, ?, ?)
-- name: quarantined
SELECT idx, producer, epoch, seq, bodies, reason FROM quarantine WHERE idx > ?
ORDER BY idx LIMIT 100
-- name: quarantined_at
SELECT bodies FROM quarantine WHERE producer = ? AND epoch = ? AND seq = ? ORDER BY idx
-- name: put_notice
INSERT INTO notice (idx, time, action, message) VALUES (?, ?, ?, ?)
-- name: acknowledge
UPDATE notice SET acknowledged = ? WHERE idx = ? AND acknowledged IS NULL
-- name: notices
SELECT idx, time, action, message, acknowledged FROM notice WHERE idx > ? ORDER BY idx LIMIT 100
-- name: open_notices
SELECT idx, time, action, message, acknowledged FROM notice
WHERE idx > ? AND acknowledged IS NULL ORDER BY idx LIMIT 100
-- name: blocks_from
SELECT n, count, min_time, max_time, doubtful, stems, salts, frame0, frame1, frame2, frame3, sealed
FROM block WHERE n >= ? ORDER BY n
-- name: tile_lengths
SELECT id, length(hashes) FROM tile WHERE id BETWEEN ? AND ? ORDER BY id
-- name: tiles_beyond
SELECT count(*) FROM tile WHERE id < 0 OR id >= ?
-- name: stray_pages
SELECT count(*) FROM page WHERE id >= ? AND (id >> 16) NOT IN (SELECT id FROM run)
-- name: all_batches
SELECT first, last, time FROM batch
WHERE first >= coalesce((SELECT max(first) FROM batch WHERE first <= ?1), ?1) ORDER BY first
-- name: audit_sources
SELECT producer, epoch, ranges, last_time, latest FROM source
-- name: count_positions
SELECT coalesce(sum(count), 0) FROM span
-- name: all_gaps
SELECT idx, producer, epoch, first, last FROM gap WHERE idx >= ?
-- name: all_quarantined
SELECT idx, producer, epoch, seq, bodies FROM quarantine WHERE idx >= ?
-- name: count_quarantined
SELECT count(*) FROM quarantine
-- name: all_notices
SELECT idx, acknowledged FROM notice
-- name: segments
SELECT first, last, place, name, bytes, sha256, min_time, max_time, sealed_at FROM segment
ORDER BY first
-- name: segment_of
SELECT first, last, place, name, bytes, sha256, min_time, max_time, sealed_at FROM segment
WHERE first <= ? ORDER BY first DESC LIMIT 1
-- name: sealed_through
SELECT coalesce(max(last) + 1, 0) FROM segment
-- name: block_bytes
SELECT length(stems) + length(salts)
  + length(frame0) + length(frame1) + length(frame2) + length(frame3)
FROM block WHERE n = ?
-- name: put_segment
INSERT INTO segment (first, last, place, name, bytes, sha256, min_time, max_time, sealed_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
-- name: replace_segment
UPDATE segment SET name = ?, bytes = ?, sha256 = ?, sealed_at = ? WHERE first = ? AND name = ?
-- name: move_sealed_block
UPDATE block SET sealed = ? WHERE n = ?
-- name: drop_blocks
DELETE FROM block WHERE n BETWEEN ? AND ? AND sealed IS NULL
-- name: put_sealed_block
INSERT INTO block (n, count, min_time, max_time, doubtful, sealed) VALUES (?, ?, ?, ?, ?, ?)
-- name: drop_tiles
DELETE FROM tile WHERE id BETWEEN ? AND ?
-- name: run_from
SELECT id, last FROM run WHERE first = ?
-- name: runs_over
SELECT id, first, last, refs, min_time, max_time, directory FROM run
WHERE last >= ? AND first <= ? ORDER BY first
-- name: last_before
SELECT coalesce(max(last) + 1, 0) FROM batch WHERE time < ?
-- name: hot_tier
SELECT
  (SELECT time FROM batch
    WHERE last >= (SELECT coalesce(max(last) + 1, 0) FROM segment) ORDER BY first LIMIT 1),
  (SELECT time FROM batch ORDER BY first DESC LIMIT 1),
  (SELECT (page_count - freelist_count) * page_size
    FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size())
