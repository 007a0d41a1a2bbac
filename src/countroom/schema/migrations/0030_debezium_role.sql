-- Debezium, whose watcher spoke as the relay until now, is a role of its own: the page and the metrics say who it is.

ALTER TABLE pipeline_processes
    DROP CONSTRAINT pipeline_processes_role_known,
    ADD CONSTRAINT pipeline_processes_role_known CHECK (role IN ('pipeline', 'relay', 'debezium', 'load', 'work'));
