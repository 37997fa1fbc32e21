/** Bringing together what two pages of the same session have changed. */

/**
 * Apply what changed from `base` to `mine` to `theirs`: where both changed the same thing, mine stays.
 *
 * Objects are merged by their keys, arrays as sets: what was added to mine is added, what was removed is removed.
 */
export function merge(base, mine, theirs) {
  if (isSame(mine, base)) return theirs;
  if (isSame(theirs, base)) return mine;
  if ([base, mine, theirs].every(Array.isArray)) return mergeSets(base, mine, theirs);
  if ([base, mine, theirs].every(isObject)) return mergeObjects(base, mine, theirs);
  return mine;
}

/** Compare what JSON can hold; the order of keys does not matter. */
export function isSame(one, other) {
  if (Array.isArray(one) && Array.isArray(other)) {
    return one.length === other.length && one.every((each, index) => isSame(each, other[index]));
  }
  if (!isObject(one) || !isObject(other)) return one === other;
  const keys = Object.keys(one);
  return keys.length === Object.keys(other).length && keys.every((key) => key in other && isSame(one[key], other[key]));
}

function mergeSets(base, mine, theirs) {
  const has = (list, wanted) => list.some((each) => isSame(each, wanted));
  const kept = theirs.filter((each) => has(mine, each) || !has(base, each));
  return [...kept, ...mine.filter((each) => !has(base, each) && !has(kept, each))];
}

function mergeObjects(base, mine, theirs) {
  const merged = {};
  for (const key of new Set([...Object.keys(theirs), ...Object.keys(mine)])) {
    const value = merge(base[key], mine[key], theirs[key]);
    if (value !== undefined) merged[key] = value;
  }
  return merged;
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
