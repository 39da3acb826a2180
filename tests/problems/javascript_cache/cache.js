const SLOTS = 6;

class Cache {
  constructor() {
    this.entries = new Map();
  }

  get(key, load) {
    if (this.entries.has(key)) {
      const value = this.entries.get(key);
      this.entries.delete(key);
      this.entries.set(key, value);
      return value;
    }
    const value = load(key);
    this.entries.set(key, value);
    if (this.entries.size > SLOTS) this.entries.delete(this.entries.keys().next().value);
    return value;
  }
}

module.exports = { Cache };
