-- Tombstones since $1, by their own clock: some have been read before, and to read one twice is harmless.
INSERT INTO new_tombstones
SELECT external_id, target_external_id, outcome, length(request_hash) = 32
  FROM tombstones
 WHERE created_at >= $1
