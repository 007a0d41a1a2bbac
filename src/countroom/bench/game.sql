-- The one provider and game of a measurement without a web process: nobody signs anything.
INSERT INTO game_providers (id, code, title, dialect, launch_url, signing_keys)
VALUES (gen_random_uuid(), 'bench', 'Benchmark', 'softswiss-v2', 'http://127.0.0.1:9/', '');
INSERT INTO games (id, provider_id, slug, title, volatility, genre)
SELECT gen_random_uuid(), id, 'bench-game', 'Benchmark', 'low', 'slots' FROM game_providers;
