"""The content of a store in memory mode, read without commands, which would take most of a test's time."""

from typing import Any

from shared.store.memory import MemoryStore

Content = dict[str, tuple[str, Any, bool]]  # key: type, value, whether it has a TTL
TTL = "604800"  # s; what a key is given that had any


def content_of(store: MemoryStore) -> Content:
    """Every key; hashes and sorted sets as dicts."""
    found: Content = {}
    for key, item in _database(store).items():
        value, kind = item.value, type(item.value).__name__
        if kind == "Hash":
            value = {name.decode(): text.decode() for name, text in value.getall().items()}
        elif kind == "ZSet":
            value = {name.decode(): int(score) if score.is_integer() else score for name, score in value.items()}
        else:
            kind, value = "String", value.decode()
        found[key.decode()] = (kind, value, item.expireat is not None)
    return found


def _database(store: MemoryStore) -> dict[bytes, Any]:
    server = store._redis.connection_pool.connection_kwargs["server"]
    database: dict[bytes, Any] = server.dbs[0]._dict
    return database


async def put_back(store: MemoryStore, content: Content) -> None:
    """Makes the store hold this and nothing else."""
    await store.execute("FLUSHALL")
    for key, (kind, value, expires) in content.items():
        match kind:
            case "String":
                await store.execute("SET", key, value)
            case "ZSet":
                flat = [str(part) for member, score in value.items() for part in (score, member)]
                await store.execute("ZADD", key, *flat)
            case _:
                await store.execute("HSET", key, *(part for pair in value.items() for part in pair))
        if expires:
            await store.execute("EXPIRE", key, TTL)
