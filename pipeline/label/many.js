// Many at once: images that the graph takes for one class, surest first. All ticked ones get it with one key.
const groups = new Map();
for (const item of many) groups.set(item.guess[0], [...(groups.get(item.guess[0]) || []), item]);
let group = 0; // the place of the class that is shown
let confirmMany = () => {}, nextMany = () => {};
const isOpen = (item) => !labelOf(item) && !item.not; // what was unticked is not asked for again
const open = () => [...groups.keys()].filter((name) => groups.get(name).some(isOpen));

function showMany() {
  const names = open();
  if (!names.length) {
    const why = many.length ? "You have looked at all of these." : "Nothing to confirm yet: there must be labels of two classes, and the page must have been made with them.";
    $("many").replaceChildren(make("p", {}, why));
    return;
  }
  group %= names.length;
  const name = names[group], items = groups.get(name).filter(isOpen);
  const ticks = items.map((item) => {
    const box = make("input", { type: "checkbox", "aria-label": "This is " + name + ": " + (item.path || item.key) });
    box.checked = true;
    const tick = make("label", { class: "card tick" }, box, image(item, ""));
    box.addEventListener("change", () => {
      item.not = box.checked ? "" : name;
      change([item]);
      tell();
    });
    return { item, box, tick };
  });
  const confirm = make("button", { type: "button", class: "go" }), other = make("button", { type: "button" }, "Next class ", make("kbd", {}, "→"));
  const chosen = () => ticks.filter(({ box }) => box.checked).map(({ item }) => item);
  function tell() {
    confirm.replaceChildren(chosen().length + " of " + ticks.length + " are " + name + " ", make("kbd", {}, "Enter"));
  }
  confirm.addEventListener("click", () => {
    if (chosen().length) give(chosen(), data.levels[0], name, "confirmed");
    showMany();
  });
  other.addEventListener("click", () => { group += 1; showMany(); });
  tell();
  const said = make("p", {}, "Are all of these ", make("b", {}, name), "? Untick those that are not: they stay without a label.");
  $("many").replaceChildren(make("div", { class: "row" }, said, confirm, other, make("small", {}, (group + 1) + " of " + names.length + " classes")),
    make("div", { class: "cards" }, ...ticks.map(({ tick }) => tick)));
  confirmMany = () => confirm.click();
  nextMany = () => other.click();
  ticks[0].box.focus({ preventScroll: true });
  scrollTo(0, 0); // Enter confirms what the question above them asks
}
