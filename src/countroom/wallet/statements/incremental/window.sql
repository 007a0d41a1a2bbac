-- What an incremental proof works on: what is new since the marks, as its snapshot shows it.
CREATE TEMPORARY TABLE chosen_players (
    user_id   uuid,
    snapshot  pg_snapshot,          -- by which the player was last read
    read_from timestamptz           -- what it did not show carries a later moment
) ON COMMIT DROP;

CREATE TEMPORARY TABLE changed_wallets (
    id                uuid,
    is_gone           boolean,
    user_id           uuid,
    currency          text,
    type              wallet_type,
    balance           numeric,
    sequence          bigint,
    receivable        numeric,
    balance_before    numeric,
    sequence_before   bigint,
    receivable_before numeric
) ON COMMIT DROP;

CREATE TEMPORARY TABLE new_entries (
    wallet_account_id uuid,
    is_locked         boolean,      -- it is a locked wallet
    sequence          bigint,
    transaction_id    uuid,
    amount            numeric,
    balance_after     numeric,
    created_at        timestamptz
) ON COMMIT DROP;

CREATE TEMPORARY TABLE new_tombstones (
    external_id        text,
    target_external_id text,
    outcome            text,
    is_hashed          boolean
) ON COMMIT DROP;

CREATE TEMPORARY TABLE touched_transactions (
    id                uuid,
    is_new            boolean,      -- first written since the marks; otherwise its status has changed since
    total             numeric,      -- of its new entries
    locked            numeric,      -- of those in a locked wallet
    external_id       text,         -- null: there is no such transaction
    user_id           uuid,
    wallet_account_id uuid,
    wallet_type       wallet_type,
    currency          text,
    type              transaction_type,
    status            transaction_status,
    amount            numeric,
    fee               numeric,
    game_round_id     uuid,
    is_hashed         boolean,
    is_placed         boolean,      -- its wallet is a changed one, of which it says the truth
    created_at        timestamptz
) ON COMMIT DROP;

CREATE TEMPORARY TABLE touched_rounds (
    id               uuid,
    player_id        uuid,          -- of the touched transactions
    is_whole         boolean,       -- it was opened by one of them, so they are all there are
    bet              numeric,       -- of those of them that stand
    win              numeric,
    bonus            numeric,
    bet_added        numeric,       -- what they have changed since the marks
    win_added        numeric,
    user_id          uuid,          -- of the round; null: there is no such round
    session_id       uuid,
    opened_at        timestamptz,
    bet_amount       numeric,
    win_amount       numeric,
    bonus_bet_amount numeric
) ON COMMIT DROP;

CREATE TEMPORARY TABLE touched_sessions (
    id              uuid,
    user_id         uuid,
    opened_at       timestamptz,
    bet_amount      numeric,
    win_amount      numeric,
    bet_before      numeric,
    win_before      numeric,
    bet_added       numeric,        -- by the touched rounds
    win_added       numeric
) ON COMMIT DROP;
