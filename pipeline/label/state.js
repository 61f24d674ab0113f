// What is known of each image, what the browser keeps of it, and the file that is saved.
const data = JSON.parse(document.getElementById("data").textContent);
const marks = Object.values(data.marks);
const asked = data.cards, many = data.sure, unlike = data.unlike;
const cards = [...asked, ...data.earlier]; // those of earlier rounds are not asked for, but may be corrected
const all = [...cards, ...many, ...unlike.flatMap(({ items }) => items), ...data.others];
const of = new Map(all.map((item) => [item.key, item]));
const IDLE = 60_000; // milliseconds: a longer rest is not counted
const $ = (id) => document.getElementById(id);
// Text of a page is never read as HTML: names of files and classes are somebody's.
function make(tag, attributes = {}, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null) element.setAttribute(name, value);
  element.append(...inside);
  return element;
}
const image = (item, alt) => make("img", { src: item.uri, alt, class: item.tiny ? "tiny" : null });

// A small server may show this page: then it keeps the labels, and the browser keeps none.
const served = location.protocol.startsWith("http");
// Private windows may refuse storage: the page still works, but does not survive a reload.
const remember = (item) => {
  if (served) return;
  const { values, how, seconds, not } = item;
  try { localStorage.setItem(item.store, JSON.stringify({ values, how, seconds, not })); } catch { }
};
const recall = (item) => { try { return JSON.parse(localStorage.getItem(item.store)); } catch { return null; } };
for (const item of all) {
  const kept = !served && item.store && recall(item);
  if (kept && kept.values) Object.assign(item, kept);
}

const level = (card) => card.levels ? card.levels[0] : data.levels[0];
const labelOf = (item) => item.values[level(item)] || "";
const fold = (name) => name.normalize("NFC").trim().replace(/\s+/g, " ").toLowerCase();
const isMark = (name) => marks.includes(name);
const classesOf = (wanted) => data.classes[wanted];
// The class that is meant by what was typed: one that is there, or a new one.
function known(name, wanted) {
  const typed = fold(name);
  return marks.find((mark) => mark === typed) || classesOf(wanted).find((one) => fold(one) === typed) || name.trim().replace(/\s+/g, " ");
}
function learn(name, wanted) {
  if (name && !isMark(name) && !classesOf(wanted).includes(name)) classesOf(wanted).push(name);
}
for (const item of all) for (const wanted of data.levels) learn(item.values[wanted], wanted);

// The time in which somebody is at work here. The seconds of all labels add up to it.
const clock = { active: 0, counted: 0, seen: performance.now() };
function alive() {
  const now = performance.now();
  if (!document.hidden) clock.active += Math.min(now - clock.seen, IDLE);
  clock.seen = now;
}
function lap() {
  alive();
  const spent = clock.active - clock.counted;
  clock.counted = clock.active;
  return spent / 1000;
}
for (const sign of ["keydown", "pointerdown", "pointermove", "wheel"]) addEventListener(sign, alive, { capture: true, passive: true });
document.addEventListener("visibilitychange", () => {
  const now = performance.now();
  if (document.hidden) clock.active += Math.min(now - clock.seen, IDLE);
  clock.seen = now;
});

const done = []; // what undo takes back: the images of each step as they were, and the card that was shown
const listeners = []; // called with the images that have changed
const copyOf = (item) => ({ item, values: { ...item.values }, how: item.how, seconds: item.seconds });
function change(items) {
  items.forEach(remember);
  listeners.forEach((tell) => tell(items));
}
// Gives images a name at a level, "" for none. `how` is typed, key, guess or confirmed; `first`, that of the first one.
function give(items, wanted, name, how, card = null, first = how) {
  const each = Math.round(lap() / items.length * 10) / 10;
  done.push({ card, before: items.map(copyOf) });
  learn(name, wanted);
  for (const item of items) {
    item.values[wanted] = name;
    item.seconds = Math.round(((item.seconds || 0) + each) * 10) / 10;
    if (wanted === level(item)) item.how = name ? (item === items[0] ? first : how) : "";
  }
  change(items);
}
function undo() {
  const last = done.pop();
  if (!last) return null;
  for (const { item, ...before } of last.before) Object.assign(item, before);
  change(last.before.map(({ item }) => item));
  return last;
}

const quote = (cell) => /[",\r\n]/.test(cell) ? '"' + cell.replaceAll('"', '""') + '"' : cell;
const cell = (item, column) => {
  if (column in item.values) return item.values[column];
  if (column === "rank") return item.rank ? String(item.rank - 1) : ""; // from 0, as in picks.csv
  if (column === "seconds") return item.how && item.seconds !== null ? Number(item.seconds).toFixed(1) : "";
  return String(item[column] ?? "");
};
// What a round says and the file does not is in the round alone, until somebody says otherwise.
const isOfRound = (item) => item.kept && !item.filed && Object.entries(item.kept).every(([wanted, name]) => item.values[wanted] === name);
const isSaid = (item) => item.rank || item.not || (Object.values(item.values).some((name) => name) && !isOfRound(item));
const table = () => [data.columns, ...all.filter(isSaid)
  .map((item) => data.columns.map((column) => cell(item, column)))].map((cells) => cells.map(quote).join(",") + "\n").join("");
function save() {
  const link = make("a", { href: URL.createObjectURL(new Blob([table()], { type: "text/csv" })), download: "labels.csv" });
  link.click();
  URL.revokeObjectURL(link.href);
}
