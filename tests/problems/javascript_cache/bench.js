const { Cache } = require("./cache");

let state = Number(process.env.SWARM_SEED || 1) % 2147483647;
let missed = 0;
const cache = new Cache();
for (let n = 0; n < 20000; n++) {
  state = (state * 48271) % 2147483647;
  const key = Math.floor(500 * (state / 2147483647) ** 3);
  cache.get(key, () => ++missed);
}
console.log(JSON.stringify({ misses: missed, requests: 20000 }));
