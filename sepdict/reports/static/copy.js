/** Buttons that copy: `data-copy` selects the element whose text is meant, and the next element says how it went. */

for (const button of document.querySelectorAll("[data-copy]")) {
  const said = button.nextElementSibling;
  button.hidden = false; // without this script it could do nothing
  button.addEventListener("click", async () => {
    const element = document.querySelector(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(element.textContent);
      said.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(element); // not every browser lets every page: the user can
      said.textContent = "Selected; copy it from there";
    }
  });
}
