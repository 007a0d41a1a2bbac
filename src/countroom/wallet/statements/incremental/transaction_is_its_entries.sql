-- P5: the new entries of a transaction are its effect now less its effect before. Before, a new one had
-- none, a withdrawal was pending and had none, and every other had succeeded: no other change exists.
-- They lie in its own wallet, of a withdrawal also in the player's locked one.
--
-- Who looks suspicious is looked at again over the whole journal before it is called a violation: that a
-- transaction is new is concluded from two equal moments, and a clock may be set back.
WITH compared AS (
    SELECT t.*,
           CASE
               WHEN t.status <> 'success' THEN 0
               WHEN t.type IN ('bet', 'withdrawal') THEN -t.amount - t.fee
               ELSE t.amount - t.fee
           END AS effect,
           CASE
               WHEN t.is_new OR t.type = 'withdrawal' THEN 0
               WHEN t.type = 'bet' THEN -t.amount - t.fee
               ELSE t.amount - t.fee
           END AS effect_before,
           CASE WHEN t.type = 'withdrawal' AND t.status = 'pending' THEN t.amount + t.fee ELSE 0 END AS held,
           CASE WHEN t.type = 'withdrawal' AND NOT t.is_new THEN t.amount + t.fee ELSE 0 END AS held_before
      FROM touched_transactions t
     WHERE t.external_id IS NOT NULL
), suspects AS (
    SELECT * FROM compared WHERE total <> effect - effect_before OR locked <> held - held_before LIMIT $1 * 10
), looked_at AS (
    SELECT s.*, whole.*
      FROM suspects s
     CROSS JOIN LATERAL (
           SELECT coalesce(sum(e.amount), 0) AS whole_total,
                  coalesce(sum(e.amount) FILTER (WHERE w.type = 'locked'), 0) AS whole_locked,
                  string_agg(format('wallet %s, entry %s: %s', e.wallet_account_id, e.sequence, e.amount), '; '
                             ORDER BY e.wallet_account_id, e.sequence) AS lines
             FROM (SELECT * FROM wallet_accounts WHERE user_id = s.user_id AND currency = s.currency OFFSET 0) w
            CROSS JOIN LATERAL (
                  SELECT * FROM wallet_entries
                   WHERE wallet_account_id = w.id AND transaction_id = s.id OFFSET 0) e) whole
), wrong AS (
    (SELECT format('%s (%s of %s, fee %s, %s): its entries add up to %s instead of %s, in locked to %s instead of %s; %s',
                   external_id, type, amount, fee, status, whole_total, effect, whole_locked, held,
                   coalesce(lines, format('wallet %s has no entry of it', wallet_account_id))) AS violation
       FROM looked_at WHERE whole_total <> effect OR whole_locked <> held LIMIT $1)
     UNION ALL
    (SELECT format('wallet %s, entry %s: %s gives %s, and %s', e.wallet_account_id, e.sequence, e.amount, e.balance_after,
                   CASE WHEN t.external_id IS NULL THEN format('there is no transaction %s', e.transaction_id)
                        ELSE format('its transaction %s lies in another wallet', t.external_id) END)
       FROM new_entries e
       JOIN touched_transactions t ON t.id = e.transaction_id
      WHERE t.external_id IS NULL
         OR (e.wallet_account_id <> t.wallet_account_id
             AND NOT (t.type = 'withdrawal' AND e.is_locked
                      AND (SELECT c.user_id = t.user_id AND c.currency = t.currency
                             FROM changed_wallets c WHERE c.id = e.wallet_account_id)))
      LIMIT $1)
)
SELECT (SELECT count(*) FROM touched_transactions) AS compared, ARRAY(SELECT violation FROM wrong) AS violations
