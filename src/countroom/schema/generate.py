"""What the migrations result in, written into the repository: `schema.sql` and `enumerations.py`.

A test compares both with a freshly migrated database; `make schema` writes them.
"""

import re
import subprocess
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import asyncpg

FOLDER: Final = Path(__file__).parent
_NOISE: Final = re.compile(r"^(--.*|SET .*|SELECT pg_catalog\.set_config.*|\\(un)?restrict.*)\n", re.MULTILINE)


def schema_sql(database_url: str, pg_dump: Path) -> str:
    """Return the whole schema as SQL, without what differs between two dumps of the same."""
    url = urlsplit(database_url)
    where = ["-h", str(url.hostname), "-p", str(url.port), "-U", str(url.username), url.path.lstrip("/")]
    dumped = subprocess.run(
        [pg_dump, "--schema-only", "--no-owner", "--no-privileges", "--exclude-table", "schema_migrations", *where],
        env={"PGPASSWORD": unquote(url.password or "")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    plain = re.sub(r"\n{3,}", "\n\n", _NOISE.sub("", dumped)).strip()
    return f"-- Generated from the migrations by `make schema`; a test compares. Do not edit.\n\n{plain}\n"


async def enumerations_py(database_url: str) -> str:
    """Return the database's enumerations as a Python module: they have their one source in the migrations."""
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch(
        """
        SELECT t.typname AS name, array_agg(e.enumlabel::text ORDER BY e.enumsortorder) AS labels
          FROM pg_type t
          JOIN pg_enum e ON e.enumtypid = t.oid
         WHERE t.typnamespace = 'public'::regnamespace
         GROUP BY t.typname
         ORDER BY t.typname
        """
    )
    await connection.close()
    lines = [
        '"""PostgreSQL\'s enumerations. Generated from the migrations by `make schema`; do not edit."""',
        "",
        "from typing import Literal",
        "",
    ]
    for row in rows:
        name = "".join(part.capitalize() for part in row["name"].split("_"))
        labels = ", ".join(f'"{label}"' for label in row["labels"])
        lines.append(f"{name} = Literal[{labels}]")
    return "\n".join(lines) + "\n"
