const assert = require("node:assert");
const { test } = require("node:test");
const { Cache } = require("./cache");

test("it remembers", () => {
  const cache = new Cache();
  assert.strictEqual(cache.get("a", () => 1), 1);
  assert.strictEqual(cache.get("a", () => 2), 1);
});
