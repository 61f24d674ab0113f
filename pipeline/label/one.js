// One image at a time: its picture, the classes with their keys, and what lies around it.
const KEYS = [..."1234567890abdefhijklmpqrtvwy"]; // those that no command has
const chipKeys = new Map(data.levels.map((wanted) => [wanted, new Map()])); // of each level, key by class
let at = 0; // the place of the card that is shown
const shownChips = { wanted: null, names: [], buttons: [] };
// A class keeps its key. One that is called as a key has that one: 7 is the key of the class 7.
function assignKeys(wanted) {
  const keys = chipKeys.get(wanted), free = () => KEYS.filter((key) => ![...keys.values()].includes(key));
  const fresh = classesOf(wanted).filter((name) => !keys.has(name));
  for (const name of fresh) if (free().includes(fold(name))) keys.set(name, fold(name));
  for (const name of fresh) if (!keys.has(name)) keys.set(name, free()[0]);
  return keys;
}

const nameOf = (card) => (card.rank ? "Image " + card.rank : "Image of an earlier round");
function showCard(place) {
  at = Math.max(0, Math.min(place, cards.length - 1));
  const card = cards[at], where = card.rank ? card.rank + " of " + asked.length : "of an earlier round";
  const old = document.querySelector("#picture img");
  old.replaceWith(image(card, nameOf(card)));
  $("name").textContent = [where, card.audit ? "audit" : "", card.path].filter(Boolean).join(" · ");
  $("refused").textContent = "";
  showStrip($("beside"), card.beside.map(besideOf));
  showStrip($("next"), following(at, 6).map((next) => make("li", {}, image(next, "Image " + next.rank))));
  showLevels(card);
  showLabel();
}
// Its class, or the guess, on the chips. Chips are kept from image to image, so that this is quick.
function showLabel() {
  const card = cards[at], wanted = level(card), name = labelOf(card), guess = name ? null : guessOf(card);
  showChips(wanted);
  shownChips.buttons.forEach((button, place) => {
    const own = shownChips.names[place];
    button.setAttribute("aria-pressed", String(own === name));
    button.classList.toggle("guess", own === guess);
    button.lastChild.textContent = own === guess ? " guess" : "";
  });
  for (const button of document.querySelectorAll("[data-mark]"))
    button.setAttribute("aria-pressed", String(data.marks[button.dataset.mark] === name));
}
function showChips(wanted) {
  const names = classesOf(wanted);
  if (shownChips.wanted === wanted && shownChips.names.length === names.length) return;
  shownChips.wanted = wanted;
  shownChips.names = [...names];
  const keys = assignKeys(wanted);
  shownChips.buttons = names.map((name) => {
    const key = keys.get(name);
    const parts = key ? [make("kbd", {}, key), " " + name] : [name];
    const button = make("button", { type: "button", class: "chip", "aria-keyshortcuts": key || null }, ...parts, make("i", {}));
    button.addEventListener("click", (event) => {
      choose(name, "key");
      if (event.detail) button.blur(); // a pointer: Enter is to take the next guess, not this chip again
    });
    return button;
  });
  $("chips").replaceChildren(...shownChips.buttons);
  $("names").replaceChildren(...names.map((name) => make("option", { value: name })));
  $("typed").placeholder = names.length ? "" : wanted;
}
function showStrip(list, items) {
  list.replaceChildren(...items);
  list.parentElement.hidden = !items.length;
}
function besideOf(key) {
  const item = of.get(key), name = item ? labelOf(item) : data.known[key];
  const told = name && !isMark(name) && !item?.audit ? name : "";
  return make("li", {}, item?.uri ? image(item, "") : image({ uri: data.small[key], tiny: cards[at].tiny }, ""), told);
}
// The next images asked for without a label, in their order; those before this one come last.
function following(place, most) {
  const found = [];
  for (let step = 1; step <= asked.length && found.length < most; step++) {
    const card = asked[(Math.min(place, asked.length - 1) + step) % asked.length];
    if (card !== cards[place] && !labelOf(card)) found.push(card);
  }
  return found;
}
// The image before or after this one, among the picks or, from one of an earlier round, among those.
function step(by) {
  const [first, end] = cards[at].rank ? [0, asked.length] : [asked.length, cards.length];
  showCard(Math.max(first, Math.min(at + by, end - 1)));
}
function goOn() {
  if (!cards[at].rank) return show("classes"); // one of an earlier round was corrected, and that is where it stands
  const next = following(at, 1)[0];
  if (next) return showCard(cards.indexOf(next));
  showCard(at);
  return labelOf(cards[at]) ? $("save").focus() : null;
}

function choose(name, how) {
  const card = cards[at], wanted = level(card);
  const again = isMark(name) && labelOf(card) === name; // pressed twice, it takes the mark back
  if (again) give([card], wanted, card.kept?.[wanted] || "", "", at); // what an earlier round says stands again
  else give([card], wanted, name, how, at);
  if (again) return showLabel();
  const above = data.levels[data.levels.indexOf(wanted) + 1];
  if (above && card.levels.includes(above) && !isMark(name) && !card.values[above] && !parentOf(name, wanted, above)) {
    showLevels(card);
    showLabel();
    return document.querySelector("#levels input").focus(); // asked once a class
  }
  return goOn();
}
function parentOf(name, wanted, above) {
  return all.find((item) => item.values[wanted] === name && item.values[above])?.values[above] || "";
}
// Coarser levels of this image, each a field to type into.
function showLevels(card) {
  const coarser = (card.levels || []).slice(1);
  $("levels").replaceChildren(...coarser.flatMap((name, place) => {
    const input = make("input", { id: "level-" + name, type: "text", spellcheck: "false", list: "names-" + name, maxlength: "200" });
    input.value = card.values[name] || "";
    input.addEventListener("change", () => give([card], name, known(input.value, name), "typed", at));
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault();
      input.blur();
      const field = document.querySelectorAll("#levels input")[place + 1];
      field ? field.focus() : goOn();
    });
    const names = make("datalist", { id: "names-" + name }, ...classesOf(name).map((one) => make("option", { value: one })));
    return [make("label", { for: "level-" + name }, name + " (once a class)"), input, names];
  }));
}
function whyNot(name, wanted) {
  const bad = /^\[.*\]$/.test(name) && !isMark(name) && !classesOf(wanted).includes(name);
  return bad ? "A name in brackets is no class: " + marks.join(", ") + " stand in place of one." : "";
}
$("other").addEventListener("submit", (event) => {
  event.preventDefault();
  const wanted = level(cards[at]), name = known($("typed").value, wanted), bad = whyNot(name, wanted);
  $("refused").textContent = bad;
  if (!name || bad) return;
  $("typed").value = "";
  $("typed").blur();
  choose(name, "typed");
});
for (const button of document.querySelectorAll("[data-mark]"))
  button.addEventListener("click", () => choose(data.marks[button.dataset.mark], "key"));
document.querySelector("[data-do=undo]").addEventListener("click", takeBack);
function takeBack() {
  const last = undo();
  if (last && last.card !== null && view === "one") showCard(last.card);
  else show(view);
}
function zoom() {
  const card = cards[at], whole = $("whole"), picture = image(card, nameOf(card) + ", whole");
  if (served) picture.src = "picture?" + new URLSearchParams({ key: card.key });
  whole.querySelector("img").replaceWith(picture);
  whole.showModal();
}
$("picture").addEventListener("click", zoom);
