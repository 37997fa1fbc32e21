/**
 * What is pressed at the moment with a pointer.
 *
 * A click is lost where another element is put in the place of what is pressed before it is released.
 */

const RELEASED_AFTER_MS = 100; // of a tap, the click comes a little later than the release

let pressed = null;
let releasing = 0; // a timer
const waiting = new Map(); // of elements, what is to be done with them when they are released

document.addEventListener("pointerdown", press, true);
document.addEventListener("click", () => (pressed = null), true); // before what hears it, which may change everything
for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, releaseSoon, true);

/** Do something with an element now, or, if anything in it is pressed, as soon as it is released. */
export function whenReleased(element, act) {
  waiting.delete(element); // it is out of date
  if (pressed && element.contains(pressed)) waiting.set(element, act);
  else act();
}

function press({ target, button }) {
  clearTimeout(releasing);
  pressed = button === 0 ? target : null; // the menu of a right button may swallow its release
}

function releaseSoon() {
  clearTimeout(releasing);
  releasing = setTimeout(release, RELEASED_AFTER_MS);
}

function release() {
  pressed = null;
  const acts = [...waiting.values()];
  waiting.clear();
  for (const act of acts) act();
}
