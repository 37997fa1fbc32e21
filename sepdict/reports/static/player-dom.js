/** Pieces that the player is made of. */

/** Make an element; functions among the attributes listen to events, and text goes in as text, never as markup. */
export function make(tag, attributes = {}, children = [], namespace = "http://www.w3.org/1999/xhtml") {
  const made = document.createElementNS(namespace, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (typeof value === "boolean") made.toggleAttribute(name, value);
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** Write seconds as 1:02.5, and from an hour on as 1:00:02.5. */
export function asClock(seconds, decimals = 1) {
  const rounded = Number(seconds.toFixed(decimals));
  const [hours, minutes] = [Math.floor(rounded / 3600), Math.floor(rounded / 60) % 60];
  const rest = (rounded % 60).toFixed(decimals).padStart(decimals ? 3 + decimals : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}
