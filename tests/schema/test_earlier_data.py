"""What an earlier version has written stays right under the schema of today."""

import asyncpg
import pytest

from countroom.postgres import Database
from countroom.schema import migrate
from countroom.wallet import books

WALLETS = "INSERT INTO wallet_accounts (id, user_id, currency, type, balance, sequence) VALUES "
SPENT_WINS = f"""
-- Deposits 1.00; a win of 20.00 is spent but for 5.00 and then reversed: 15.00 are not there. A win that went to
-- both wallets is reversed when the bonus part (2.00) is spent but for 0.50.
INSERT INTO users (id, email) VALUES ('00000000-0000-0000-0000-000000000001', 'a@example.test');
INSERT INTO game_providers (id, code, title, dialect, launch_url, signing_keys)
VALUES ('00000000-0000-0000-0000-000000000008', 's', 'S', 'softswiss-v2', '', '');
INSERT INTO games (id, provider_id, slug, title, volatility, genre)
SELECT '00000000-0000-0000-0000-000000000009', id, 'g', 'G', 'low', 'slots' FROM game_providers;
{WALLETS} ('00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0000-000000000001', 'EUR', 'main', 0, 5),
          ('00000000-0000-0000-0000-00000000000b', '00000000-0000-0000-0000-000000000001', 'EUR', 'bonus', 0, 4),
          ('00000000-0000-0000-0000-00000000000c', '00000000-0000-0000-0000-000000000001', 'EUR', 'locked', 0, 0);
INSERT INTO transactions (id, wallet_account_id, external_id, amount, type, status, user_id, wallet_type, currency,
                          request_hash, processed_at)
SELECT ('10000000-0000-0000-0000-00000000000' || number)::uuid,
       CASE wallet WHEN 'main' THEN '00000000-0000-0000-0000-00000000000a'
                   ELSE '00000000-0000-0000-0000-00000000000b' END::uuid,
       's:' || key, amount, type::transaction_type, status::transaction_status,
       '00000000-0000-0000-0000-000000000001', wallet::wallet_type, 'EUR', sha256('x'), now()
  FROM (VALUES (1, 'd', 'main', 1.00, 'deposit', 'success'), (2, 'w1', 'main', 20.00, 'win', 'cancelled'),
               (3, 'b1', 'main', 16.00, 'bet', 'success'), (4, 'w2', 'main', 1.00, 'win', 'cancelled'),
               (5, 'w2/bonus', 'bonus', 2.00, 'win', 'cancelled'), (6, 'b2', 'bonus', 1.50, 'bet', 'success'),
               (7, 'g', 'bonus', 0.50, 'bonus', 'success'))
       AS t (number, key, wallet, amount, type, status);
INSERT INTO wallet_entries (wallet_account_id, sequence, transaction_id, amount, balance_after)
SELECT CASE wallet WHEN 'main' THEN '00000000-0000-0000-0000-00000000000a'
                   ELSE '00000000-0000-0000-0000-00000000000b' END::uuid,
       sequence, ('10000000-0000-0000-0000-00000000000' || number)::uuid, amount, after
  FROM (VALUES ('main', 1, 1, 1.00, 1.00), ('main', 2, 2, 20.00, 21.00), ('main', 3, 3, -16.00, 5.00),
               ('main', 4, 2, -5.00, 0.00), ('bonus', 1, 7, 0.50, 0.50), ('bonus', 2, 5, 2.00, 2.50),
               ('bonus', 3, 6, -1.50, 1.00), ('bonus', 4, 5, -1.00, 0.00))
       AS e (wallet, sequence, number, amount, after);
-- The main part of the second win was there when it was reversed.
UPDATE wallet_accounts SET sequence = 6 WHERE type = 'main';
INSERT INTO wallet_entries (wallet_account_id, sequence, transaction_id, amount, balance_after)
VALUES ('00000000-0000-0000-0000-00000000000a', 5, '10000000-0000-0000-0000-000000000004', 1.00, 1.00),
       ('00000000-0000-0000-0000-00000000000a', 6, '10000000-0000-0000-0000-000000000004', -1.00, 0.00);
INSERT INTO tombstones (external_id, target_external_id, id, user_id, request_hash, outcome, amount, shortfall,
                        answer_balance)
VALUES ('s:x1', 's:w1', gen_random_uuid(), '00000000-0000-0000-0000-000000000001', sha256('x'), 'reversed', -5, 15, 0),
       ('s:x2', 's:w2', gen_random_uuid(), '00000000-0000-0000-0000-000000000001', sha256('x'), 'reversed', -2, 1, 0);
"""


async def test_a_win_that_had_been_spent_when_it_was_reversed_is_owed_from_now_on(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public; DROP PUBLICATION countroom")
    shipped = migrate.shipped()
    with monkeypatch.context() as earlier:
        earlier.setattr(migrate, "shipped", lambda: [each for each in shipped if each.number <= 5])
        await migrate.apply(database_url)
    await connection.execute(SPENT_WINS)

    await migrate.apply(database_url)

    rows = await connection.fetch("SELECT type, balance, receivable, sequence FROM wallet_accounts ORDER BY type")
    await connection.close()
    assert [tuple(map(str, row)) for row in rows] == [
        ("main", "0.00", "15.00", "8"), ("bonus", "0.00", "1.00", "6"), ("locked", "0.00", "0.00", "0"),
    ]  # fmt: skip
    database = await Database.connect(database_url, size_max=1)
    for proof in await books.prove(database):
        assert proof.holds, proof
    await database.close()
