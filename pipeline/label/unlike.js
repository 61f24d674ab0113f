// Images that look like none of the classes, in groups, the most typical first: somebody says what they are.
const openGroups = () => unlike.filter(({ items }) => items.every((item) => !labelOf(item)));
const inAll = (groups) => groups.reduce((sum, { count }) => sum + count, 0);

function showUnlike() {
  const groups = openGroups();
  const words = groups.length
    ? "About " + inAll(groups) + " images look like none of your classes" + (groups.length > 1 ? ", in " + groups.length + " groups" : "") + ". What are they? Untick those that are of another class than the first: they stay without a label."
    : "You have looked at all of these. " + (served ? "Finish looks for more." : "The chain looks for more when it runs with these labels.");
  $("unlike").replaceChildren(make("p", {}, words), ...groups.map(showGroup));
}
function showGroup({ count, items }, place) {
  const ticks = items.map((item) => {
    const box = make("input", { type: "checkbox", "aria-label": "Is one of these: " + (item.path || item.key) });
    box.checked = true;
    box.addEventListener("change", tell);
    return { item, box, tick: make("label", { class: "card tick" }, box, image(item, "")) };
  });
  const go = make("button", { type: "submit", class: "go" }), refused = make("p", { role: "alert" });
  const typed = make("input", { type: "text", list: "names", spellcheck: "false", autocapitalize: "off", maxlength: "200", "aria-label": "Class of group " + (place + 1) });
  const form = make("form", { class: "row", autocomplete: "off" }, typed, go, make("small", {}, "about " + count + " images, the most typical " + items.length + " first"));
  const chosen = () => ticks.filter(({ box }) => box.checked).map(({ item }) => item);
  function tell() {
    go.textContent = "Label " + chosen().length + " of " + ticks.length;
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = data.levels[0], name = known(typed.value, wanted), bad = whyNot(name, wanted);
    refused.textContent = bad;
    if (!name || bad || !chosen().length) return;
    // The first was looked at for its class, as a pick is; the others are of it because they look like it.
    give(chosen(), wanted, name, "confirmed", null, "typed");
    showUnlike();
  });
  tell();
  return make("section", { "aria-label": "Group " + (place + 1) }, form, refused, make("div", { class: "cards" }, ...ticks.map(({ tick }) => tick)));
}
