/**
 * The page's one program: shows the judgements that the gallery's controls ask for. It reads the cards' `data-` attributes and text, writes nothing but
 * `hidden`, `aria-pressed` and the count, and knows no data. Without it the page shows all.
 */
export const FILTER_SCRIPT = `
"use strict";
const cards = [...document.querySelectorAll("article[data-fate]")];
const buttons = [...document.querySelectorAll("button[data-fate]")];
const selects = [...document.querySelectorAll("select[data-property]")];
const search = document.getElementById("search");
const texts = cards.map((card) => card.textContent.toLowerCase());
let fate = "";
function show() {
	const words = search.value.trim().toLowerCase();
	let shown = 0;
	cards.forEach((card, i) => {
		const fits = (fate === "" || card.dataset.fate === fate)
			&& selects.every(({ value, dataset }) => value === "" || card.dataset[dataset.property] === value)
			&& texts[i].includes(words);
		card.hidden = !fits;
		if (fits) shown++;
	});
	document.getElementById("count").textContent = shown + " of " + cards.length + " shown";
}
for (const button of buttons) button.addEventListener("click", () => {
	fate = button.dataset.fate;
	for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
	show();
});
for (const select of selects) select.addEventListener("change", show);
search.addEventListener("input", show);
document.querySelector(".controls").hidden = false;
show();
`;
