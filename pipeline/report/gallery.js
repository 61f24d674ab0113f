// The gallery: a view of the images, filters over it, and as many cards as fit a screen or two at a time.
"use strict";
const STEP = 120; // cards that are added at a time
const EACH = 6; // sure and unsure ones of a class
const at = (id) => document.getElementById(id);
const all = Array.from({ length: images.count }, (_, i) => i);
const gap = new Map(data.outliers);
let view = "all", rows = [], end = 0;

// The class that an image is shown under.
const classOf = (i) => (images.label[i] >= 0 ? images.label[i] : images.prediction[i]);
const kinds = {
  "": () => true,
  labelled: (i) => images.label[i] >= 0,
  unlabelled: (i) => images.label[i] < 0,
  wrong: isWrong,
  changed: (i) => i in data.before,
  test: (i) => images.tested[i] === 1,
};
const orders = {
  sure: (a, b) => images.confidence[b] - images.confidence[a],
  unsure: (a, b) => images.confidence[a] - images.confidence[b],
  path: (a, b) => (data.paths[a] < data.paths[b] ? -1 : data.paths[a] > data.paths[b] ? 1 : 0),
};

function filtered(from) {
  const number = at("class").value, kind = kinds[at("which").value], text = at("text").value.toLowerCase();
  const low = at("low").value / 100 - 1e-4, high = at("high").value / 100 + 1e-4;
  return from.filter((i) => (number === "" || classOf(i) === +number) && kind(i)
    && (images.label[i] >= 0 || (images.confidence[i] >= low && images.confidence[i] <= high))
    && (!text || data.paths[i].toLowerCase().includes(text)));
}

function withNote(i, note) {
  const made = card(i);
  made.append(element("span", note, "line confidence"));
  return made;
}

function grid(cards) {
  const list = element("ul", "", "pictures");
  list.append(...cards);
  return list;
}

// Pictures come first: a card without one says little.
const picturesFirst = (found) => [...found.filter((i) => i in data.thumbs), ...found.filter((i) => !(i in data.thumbs))];

function byClass() {
  const groups = new Map();
  for (const i of filtered(all).filter((one) => classOf(one) >= 0)) {
    if (!groups.has(classOf(i))) groups.set(classOf(i), []);
    groups.get(classOf(i)).push(i);
  }
  const parts = [...groups].sort((a, b) => a[0] - b[0]).map(([number, own]) => {
    const part = element("section", "", "of-class"), title = element("h2", data.classes[number]);
    const labels = own.filter((i) => images.label[i] >= 0), wrong = own.filter(isWrong).length;
    const others = own.filter((i) => images.label[i] < 0 && i in data.thumbs).sort(orders.sure);
    const words = `${labels.length} labels, ${(own.length - labels.length).toLocaleString("en")} predicted` + (wrong ? `, ${wrong} of them known to be wrong` : "");
    part.append(title, element("p", `${words}. Labels, then the surest, then the least sure.`, "note"));
    part.append(grid([...labels.slice(0, EACH), ...others.slice(0, EACH), ...others.slice(EACH).slice(-EACH)].map((i) => card(i))));
    return part;
  });
  rows = [...groups.values()].flat();
  at("count").textContent = `${groups.size} classes, ${rows.length.toLocaleString("en")} images.`;
  at("shown").replaceChildren(...parts);
  at("more").hidden = true;
}

function pairs() {
  const kept = data.copies.filter(([a, b]) => filtered([a, b]).length > 0);
  rows = [...new Set(kept.flatMap(([a, b]) => [a, b]))];
  at("count").textContent = `${kept.length} pairs.`;
  at("shown").replaceChildren(...kept.slice(0, STEP).map(([a, b, apart]) => {
    const pair = grid([card(a), card(b)]);
    pair.classList.add("pair");
    pair.append(element("li", `distance ${apart}`, "note"));
    return pair;
  }));
  at("more").hidden = true;
}

function more() {
  const note = { outliers: (i) => `mean distance ${gap.get(i)}` }[view];
  const part = rows.slice(end, end + STEP);
  at("shown").firstChild.append(...part.map((i) => (note ? withNote(i, note(i)) : card(i))));
  end += part.length;
  at("more").hidden = end >= rows.length;
}

function show() {
  for (const key of document.querySelectorAll("[data-view]")) key.setAttribute("aria-pressed", String(key.dataset.view === view));
  for (const words of document.querySelectorAll("[data-about]")) words.hidden = words.dataset.about !== view;
  at("order").disabled = view !== "all";
  if (view === "classes") return byClass();
  if (view === "copies") return pairs();
  rows = view === "all" ? picturesFirst(filtered(all).sort(orders[at("order").value])) : filtered(view === "suspects" ? data.suspects : data.outliers.map(([i]) => i));
  const seen = rows.filter((i) => i in data.thumbs).length, wrong = rows.filter(isWrong).length;
  at("count").textContent = `${rows.length.toLocaleString("en")} images` + (wrong ? `, ${wrong} known to be wrong` : "") + (seen < rows.length ? `; ${seen.toLocaleString("en")} with their picture` : "") + ".";
  at("shown").replaceChildren(grid([]));
  end = 0;
  return more();
}

const counts = new Map();
for (const i of all) counts.set(classOf(i), (counts.get(classOf(i)) || 0) + 1);
data.classes.forEach((name, number) => {
  const choice = element("option", `${name} (${(counts.get(number) || 0).toLocaleString("en")})`);
  choice.value = number;
  at("class").append(choice);
});
for (const key of document.querySelectorAll("[data-view]")) key.onclick = () => { view = key.dataset.view; show(); };
at("filters").oninput = show;
at("filters").onsubmit = (event) => event.preventDefault();
at("more").onclick = more;
at("save").onclick = () => save(rows, "images.csv");
show();
