/** One sound at a time: whatever begins to sound on the page ends what sounded before. */

let last = { who: null, stop: () => {} }; // who began to sound last

/** Let something sound alone; `stop` is called when something else begins. */
export function takeTurn(who, stop) {
  if (last.who !== who) last.stop();
  last = { who, stop };
}
