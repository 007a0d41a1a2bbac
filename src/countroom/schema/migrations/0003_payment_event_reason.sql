-- Why an event waits for review: an outcome whose reason is only in a log is lost (P9).

ALTER TABLE payment_events ADD COLUMN reason text;
CREATE INDEX payment_events_to_review ON payment_events (received_at) WHERE outcome = 'review';
