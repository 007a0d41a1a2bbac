"""A process that owns a data folder, prints its stores' addresses, and ends when its input does."""

import json
import sys

from countroom.embedded.stores import running
from countroom.settings import load

if __name__ == "__main__":
    with running(load({"COUNTROOM_DATA": sys.argv[1]})) as settings:
        addresses = [settings.database_url, settings.redis_url, settings.clickhouse_url]
        print(json.dumps(addresses), flush=True)  # noqa: T201 - its answer
        sys.stdin.read()
