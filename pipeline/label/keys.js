// Views, keys, swipes, and the start.
const views = { one: () => showCard(at), all: showAll, classes: showClasses, many: showMany, unlike: showUnlike };
let view = "one";
function show(name) {
  if (name !== view) scrollTo(0, 0);
  view = name;
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== name;
  for (const tab of document.querySelectorAll("nav button"))
    tab.dataset.view === name ? tab.setAttribute("aria-current", "page") : tab.removeAttribute("aria-current");
  views[name]();
}
function tellCount() {
  const given = asked.map(labelOf), marked = given.filter(isMark).length, left = given.filter((name) => !name).length;
  const confirmed = all.filter((item) => item.how === "confirmed").length;
  $("count").textContent = (left ? given.length - left - marked + " of " + asked.length : "All") + " labelled"
    + (marked ? ", " + marked + " without a class" : "") + (left ? ", " + left + " left" : "")
    + (confirmed ? ", " + confirmed + " confirmed beside them" : "") + (left ? "" : ": press " + $("save").textContent);
  const strangers = openGroups();
  document.querySelector("[data-view=unlike]").hidden = !strangers.length;
  $("strangers").textContent = inAll(strangers);
}

const anywhere = {
  o: () => show("all"), c: () => show("classes"), g: () => show("many"), "+": () => openGroups().length && show("unlike"), Escape: () => show("one"), u: takeBack,
};
const ofOne = {
  n: () => $("typed").focus(), "/": () => $("typed").focus(), z: zoom,
  s: () => choose(data.marks.skip, "key"), "-": () => choose(data.marks.none, "key"), x: () => choose(data.marks.unusable, "key"),
  ArrowLeft: () => step(-1), ArrowRight: () => step(1),
  Enter: () => {
    const guess = labelOf(cards[at]) || guessOf(cards[at]);
    if (labelOf(cards[at])) goOn();
    else if (guess) choose(guess, "guess");
  },
};
const ofMany = { Enter: () => confirmMany(), ArrowRight: () => nextMany() };
function keyOf(event) {
  const { key } = event, keys = chipKeys.get(level(cards[at]));
  const name = view === "one" && shownChips.names.find((one) => keys.get(one) === key);
  if (name) return () => choose(name, "key");
  return (view === "one" && ofOne[key]) || (view === "many" && ofMany[key]) || anywhere[key];
}
document.addEventListener("keydown", (event) => {
  if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey || $("whole").open) return;
  const focused = event.target, typing = focused.matches("input:not([type=checkbox])");
  if (typing && event.key === "Escape") return focused.blur();
  if (typing || (event.key === "Enter" && focused.matches("button, a, summary") && focused.id !== "picture")) return;
  const act = keyOf(event);
  if (!act) return;
  event.preventDefault(); // else "/" searches the page, and "n" is typed into the field that it opens
  act();
});

let touched = null;
$("picture").addEventListener("touchstart", (event) => { touched = event.touches[0]; }, { passive: true });
$("picture").addEventListener("touchend", (event) => {
  const { clientX, clientY } = event.changedTouches[0], x = clientX - touched.clientX, y = clientY - touched.clientY;
  if (Math.abs(x) < 50 || Math.abs(x) < 2 * Math.abs(y)) return;
  event.preventDefault();
  step(x < 0 ? 1 : -1);
});
for (const tab of document.querySelectorAll("nav button")) tab.addEventListener("click", () => show(tab.dataset.view));
addEventListener("beforeprint", () => show("all"));
addEventListener("beforeunload", (event) => { if (unsaved.length) event.preventDefault(); });
listeners.push(tellCount);

function start() {
  tellCount();
  const first = asked.findIndex((card) => !labelOf(card));
  at = Math.max(first, 0);
  show("one");
}
async function startServed() {
  $("save").textContent = "Finish";
  $("keeping").textContent = "Each label is saved at once. Press Finish when you have given enough: the chain goes on, and its report is shown here.";
  $("save").addEventListener("click", finish);
  $("here").addEventListener("click", save);
  $("server").hidden = false;
  try {
    await load();
    listeners.push(post);
  } catch (error) {
    $("progress").textContent = "The server gives no labels: " + error.message + ". Reload the page.";
    return;
  }
  start();
  follow();
}
if (served) startServed();
else {
  $("save").addEventListener("click", save);
  start();
}
