-- A row longer than two kilobytes has its values moved out of line, the longest first, until it
-- fits: with large metadata (STORAGE MAIN, moved last) that meant external_id. An unchanged value
-- that lives out of line reaches the log as a hole. With STORAGE MAIN for all published text a row
-- would have to pass eight kilobytes, and metadata's limit of four keeps it below.

ALTER TABLE transactions ALTER COLUMN external_id SET STORAGE MAIN, ALTER COLUMN provider SET STORAGE MAIN;
ALTER TABLE game_rounds ALTER COLUMN external_id SET STORAGE MAIN, ALTER COLUMN provider SET STORAGE MAIN;
