/** How mixtures are to be separated: what is asked for, and what means something with the sources there are. */

const find = (selector) => document.querySelector(selector);

/** Read how the user wants mixtures to be separated. */
export function settings(isAlone) {
  const quality = find("#standard").checked ? "standard" : "draft";
  const residual = isAlone || find("#residual").checked; // a single source always leaves one
  const offersModel = !find("#background-model").parentElement.hidden;
  return { residual, background_model: offersModel && find("#background-model").checked, quality };
}

/** Offer what means something: a single source leaves the rest in any case, and learns it except in drafts. */
export function showOptions(isAlone) {
  const [residual, model] = [find("#residual"), find("#background-model")];
  find("#always").hidden = !isAlone;
  residual.parentElement.hidden = isAlone;
  model.parentElement.hidden = isAlone ? find("#standard").checked : !residual.checked;
  model.parentElement.classList.toggle("nested", !isAlone);
}
