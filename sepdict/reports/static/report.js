/** What the report does. */

import { createPlayer } from "./player.js";

const data = JSON.parse(document.querySelector("#data").textContent);
const player = createPlayer(document.querySelector("#player"), data);

// Charts span the whole track, of which the player may only have the beginning.
document.addEventListener("position", ({ detail }) => {
  document.documentElement.style.setProperty("--report-position", data.total > 0 ? detail.time / data.total : 0);
});

for (const text of document.querySelectorAll("[data-player]")) text.hidden = false; // without a player it says nothing

for (const button of document.querySelectorAll("[data-seek]")) {
  button.disabled = false;
  button.addEventListener("click", () => {
    const element = document.querySelector("#player");
    element.scrollIntoView();
    element.querySelector("button").focus({ preventScroll: true }); // where Space pauses
    player.seek(Number(button.dataset.seek));
    player.play();
  });
}

for (const chart of document.querySelectorAll(".chart-time"))
  chart.addEventListener("click", (event) => {
    const { left, width } = chart.getBoundingClientRect();
    const time = (data.total * (event.clientX - left)) / width;
    if (time <= data.duration) player.seek(time);
  });
