// Calls of @upstash/redis as its users write them; each line is a call and the answer that it must have.
import assert from "node:assert/strict";
import { Redis } from "@upstash/redis";

const redis = new Redis({
  url: process.env.UPSTASH_REDIS_REST_URL,
  token: process.env.UPSTASH_REDIS_REST_TOKEN,
  retry: false,
  enableAutoPipelining: process.argv[2] === "piped",
});
const INCR = "#!lua flags=allow-key-locking\nreturn redis.call('INCRBY', KEYS[1], ARGV[1])";
const STRAY = "#!lua flags=allow-key-locking\nlocal n = redis.call('INCR', 'stray')\nreturn n";
const script = redis.createScript("return tonumber(ARGV[1]) + 1");
const reader = redis.createScript("return redis.call('GET', KEYS[1])", { readonly: true });

const calls = [
  ["ping", () => redis.ping(), "PONG"],
  ["echo", () => redis.echo("hé"), "hé"],
  ["set", () => redis.set("a", "text"), "OK"],
  ["get", () => redis.get("a"), "text"],
  ["set an object", () => redis.set("o", { n: 1, list: ["x", null] }, { ex: 60 }), "OK"],
  ["get an object", () => redis.get("o"), { n: 1, list: ["x", null] }],
  ["set if new", () => redis.set("a", "other", { nx: true }), null],
  ["set and get", () => redis.set("a", "next", { get: true }), "text"],
  ["getset", () => redis.getset("a", "last"), "next"],
  ["mset", () => redis.mset({ b: "1", c: "two" }), "OK"],
  ["mget", () => redis.mget("b", "c", "none"), [1, "two", null]],
  ["incrby", () => redis.incrby("b", 4), 5],
  ["incrbyfloat", () => redis.incrbyfloat("b", 0.5), 5.5],
  ["append", () => redis.append("c", "!"), 4],
  ["strlen", () => redis.strlen("c"), 4],
  ["getrange", () => redis.getrange("c", 0, 1), "tw"],
  ["exists", () => redis.exists("a", "b", "none"), 2],
  ["expire", () => redis.expire("a", 100), 1],
  ["ttl", () => redis.ttl("a"), 100],
  ["persist", () => redis.persist("a"), 1],
  ["type", () => redis.type("a"), "string"],
  ["getdel", () => redis.getdel("c"), "two!"],
  ["hset", () => redis.hset("h", { one: 1, two: { deep: true } }), 2],
  ["hget", () => redis.hget("h", "two"), { deep: true }],
  ["hgetall", () => redis.hgetall("h"), { one: 1, two: { deep: true } }],
  ["hmget", () => redis.hmget("h", "one", "none"), { one: 1, none: null }],
  ["hincrby", () => redis.hincrby("h", "one", 2), 3],
  ["hdel", () => redis.hdel("h", "two"), 1],
  ["lpush", () => redis.lpush("l", "x", "y"), 2],
  ["rpush", () => redis.rpush("l", { z: 1 }), 3],
  ["lrange", () => redis.lrange("l", 0, -1), ["y", "x", { z: 1 }]],
  ["lpop", () => redis.lpop("l"), "y"],
  ["sadd", () => redis.sadd("s", "m", "n"), 2],
  ["sismember", () => redis.sismember("s", "m"), 1],
  ["zadd", () => redis.zadd("z", { score: 1.5, member: "p" }, { score: 2, member: "q" }), 2],
  ["zrange", () => redis.zrange("z", 0, -1, { withScores: true }), ["p", 1.5, "q", 2]],
  ["zscore", () => redis.zscore("z", "p"), 1.5],
  ["zrange by score", () => redis.zrange("z", 2, "+inf", { byScore: true }), ["q"]],
  ["scan", async () => (await redis.scan(0, { match: "z*", count: 100 })).slice(0, 1), ["0"]],
  ["xadd", async () => typeof (await redis.xadd("x", "*", { field: "value" })), "string"],
  ["xlen", () => redis.xlen("x"), 1],
  ["eval", () => redis.eval("return { KEYS[1], ARGV[1], 7 }", ["k"], ["v"]), ["k", "v", 7]],
  ["eval with key locking", () => redis.eval(INCR, ["n"], [3]), 3],
  ["evalsha of an unknown script", () => text(redis.evalsha("0".repeat(40), [], [])), /NOSCRIPT .*Please use EVAL/],
  ["a script by its digest, then whole", () => script.exec([], ["1"]), 2],
  ["a script by its digest", () => script.exec([], ["2"]), 3],
  ["a reading script", () => reader.exec(["a"], []), "last"],
  ["an undeclared key", () => text(redis.eval(STRAY, [], [])), /@user_script:2: .*Key was: stray/],
  ["an error", () => text(redis.incr("a")), /ERR value is not an integer/],
  ["a pipeline", () => redis.pipeline().set("p", { q: 1 }).get("p").del("p").exec(), ["OK", { q: 1 }, 1]],
  ["a pipeline with an error", () => text(redis.pipeline().incr("a").get("a").exec()), /Command 1 .*not an integer/],
  ["a transaction", () => redis.multi().incr("t").incr("t").get("t").exec(), [1, 2, 2]],
  ["calls at once", () => Promise.all([redis.get("t"), redis.get("none"), redis.incr("t")]), [2, null, 3]],
  ["bytes of any length", async () => (await redis.set("big", "ü".repeat(100_000)), (await redis.get("big")).length), 100_000],
  ["dbsize", async () => (await redis.dbsize()) > 5, true],
  ["del", () => redis.del("a", "b", "none"), 2],
  ["flushdb", () => redis.flushdb(), "OK"],
];

async function text(promise) {
  return promise.then(() => "no error", (error) => error.message);
}

for (const [name, call, wanted] of calls) {
  const answer = await call();
  if (wanted instanceof RegExp) assert.match(answer, wanted, name);
  else assert.deepEqual(answer, wanted, name);
}
console.log(`${calls.length} calls`);
