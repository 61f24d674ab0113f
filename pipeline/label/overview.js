// All images, and the same by class, to check what was given.
function button(card) {
  const name = labelOf(card), odd = isOdd(card);
  const about = [card.rank ? "rank " + (card.rank - 1) : "earlier round", card.audit ? "audit" : "", card.how === "guess" ? "guess taken" : ""].filter(Boolean).join(" · ");
  const parts = [image(card, ""), make("b", {}, name || "no label")];
  if (odd) parts.push(make("span", { class: "warning" }, "⚠ looks like " + card.guess[0]));
  const one = make("button", { type: "button", class: "card" + (odd ? " odd" : "") }, ...parts, make("small", {}, about));
  one.addEventListener("click", () => { show("one"); showCard(cards.indexOf(card)); });
  return make("li", {}, one);
}
const listOf = (items) => make("ol", { class: "cards" }, ...items.map(button));
function showAll() {
  $("all").replaceChildren(listOf(asked));
}
function showClasses() {
  const groups = new Map();
  for (const item of all) {
    const name = labelOf(item) || "no label yet";
    if (item.rank || item.kept || labelOf(item)) groups.set(name, [...(groups.get(name) || []), item]);
  }
  const names = [...groups.keys()].sort((one, other) => groups.get(other).length - groups.get(one).length);
  const odd = cards.filter(isOdd), checked = cards.some((card) => card.guess && labelOf(card));
  const none = checked ? "No label is at odds with the others." : "Labels are held against each other once the page is made with them: after " + (served ? "Finish" : "the chain has run with them") + ", reload it.";
  const parts = [make("p", { class: odd.length ? "warning" : null },
    odd.length ? odd.length + (odd.length > 1 ? " labels" : " label") + " to look at again: the other labels say something else" : none)];
  for (const name of names) {
    const items = groups.get(name), own = items.filter((item) => item.levels), rest = items.length - own.length;
    const single = items.length === 1 && classesOf(data.levels[0]).includes(name);
    own.sort((one, other) => isOdd(other) - isOdd(one));
    parts.push(make("h2", {}, name + ": " + items.length + (rest ? ", of which " + rest + " are no picks" : "")));
    if (single) parts.push(make("p", { class: "warning" }, "⚠ one label alone: is the name right?"));
    if (own.length) parts.push(listOf(own));
  }
  $("classes").replaceChildren(...parts);
}
