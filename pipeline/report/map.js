// The map: points in WebGL by regl-scatterplot; hover shows an image, the lasso lists many.
"use strict";
const LISTED = 120; // images of a lasso that are shown
const RAMP = Array.from({ length: 64 }, (_, i) => mixed("#b4123b", "#e0b040", "#0d7a73", i / 63));
const xy = new Float32Array(bytes(data.xy));
const x = Array.from({ length: images.count }, (_, i) => xy[2 * i]);
const y = Array.from({ length: images.count }, (_, i) => -xy[2 * i + 1]);
const at = (id) => document.getElementById(id);
let plot, by = "prediction", hidden = new Set();

function mixed(low, middle, high, share) {
  const [from, to, part] = share < 0.5 ? [low, middle, 2 * share] : [middle, high, 2 * share - 1];
  const channel = (text, k) => parseInt(text.slice(1 + 2 * k, 3 + 2 * k), 16);
  return `#${[0, 1, 2].map((k) => Math.round(channel(from, k) * (1 - part) + channel(to, k) * part).toString(16).padStart(2, "0")).join("")}`;
}

// The class that colours an image, from 0: the last number is that of images without one.
const none = data.classes.length;
const classOf = (i) => {
  const number = by === "class" ? known(i) : images.label[i] >= 0 ? images.label[i] : images.prediction[i];
  return number < 0 ? none : number;
};

// A label is sure.
const sureness = (i) => (images.label[i] >= 0 ? 1 : images.confidence[i]);

async function paint() {
  const continuous = by === "confidence";
  const value = Array.from({ length: images.count }, (_, i) => (continuous ? sureness(i) : classOf(i)));
  const picked = Array.from(images.rank, (rank) => (rank ? 1 : 0));
  plot.set({ pointColor: continuous ? RAMP : [...data.classes.map((_, i) => colour(i)), GREY] });
  await plot.draw({ x, y, valueA: value, valueB: picked }, { zDataType: continuous ? "continuous" : "categorical", wDataType: "categorical" });
  hidden = new Set();
  legend();
}

// A button for each class; pressing it hides its images.
function legend() {
  const counts = new Map(), list = at("legend");
  list.replaceChildren();
  at("scale").hidden = by !== "confidence";
  if (by === "confidence") return;
  for (let i = 0; i < images.count; i++) counts.set(classOf(i), (counts.get(classOf(i)) || 0) + 1);
  for (const [number, count] of [...counts].sort((a, b) => a[0] - b[0])) {
    const key = element("button"), dot = element("i");
    dot.style.background = number === none ? GREY : colour(number);
    key.append(dot, element("span", number === none ? "not known" : data.classes[number]), element("small", count.toLocaleString("en")));
    key.setAttribute("aria-pressed", "true");
    key.onclick = () => {
      if (!hidden.delete(number)) hidden.add(number);
      key.setAttribute("aria-pressed", String(!hidden.has(number)));
      if (hidden.size) plot.filter(Array.from({ length: images.count }, (_, i) => i).filter((i) => !hidden.has(classOf(i))));
      else plot.unfilter();
    };
    list.append(key);
  }
}

function hover(i) {
  const tip = at("tip"), [left, top] = plot.getScreenPosition(i), stage = at("stage");
  tip.replaceChildren(card(i, "div"));
  tip.hidden = false;
  tip.style.left = `${Math.max(0, Math.min(left + 14, stage.clientWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${Math.max(0, Math.min(top + 14, stage.clientHeight - tip.offsetHeight - 8))}px`;
}

function chosen({ points }) {
  const rows = [...points].sort((a, b) => isWrong(b) - isWrong(a) || images.confidence[a] - images.confidence[b]);
  const shown = [...rows].sort((a, b) => (b in data.thumbs) - (a in data.thumbs)).slice(0, LISTED);
  const wrong = rows.filter(isWrong).length;
  at("chosen").hidden = rows.length === 0;
  at("about").textContent = `${rows.length.toLocaleString("en")} images` + (wrong ? `, ${wrong} known to be wrong` : "") + (shown.length < rows.length ? `; ${shown.length} are shown` : "") + ".";
  at("list").replaceChildren(...shown.map((i) => card(i)));
  at("save").onclick = () => save(rows, "chosen.csv");
}

async function start() {
  const style = getComputedStyle(document.documentElement), canvas = at("canvas");
  plot = createScatterplot({
    canvas,
    cameraDistance: 1.05 * Math.max(1, canvas.clientHeight / canvas.clientWidth), // the height alone would fit
    backgroundColor: style.getPropertyValue("--card").trim(),
    lassoColor: style.getPropertyValue("--picks").trim(),
    pointColorActive: style.getPropertyValue("--ink").trim(),
    pointColorHover: style.getPropertyValue("--ink").trim(),
    pointOutlineWidth: 2,
    colorBy: "valueA",
    sizeBy: "valueB",
    pointSize: images.count > 20000 ? [2, 9] : images.count > 3000 ? [4, 11] : [6, 13],
    opacity: images.count > 20000 ? 0.5 : 0.75,
    showReticle: false,
  });
  plot.subscribe("pointOver", hover);
  plot.subscribe("pointOut", () => { at("tip").hidden = true; });
  plot.subscribe("select", chosen);
  plot.subscribe("deselect", () => chosen({ points: [] }));
  at("by").onchange = (event) => { by = event.target.value; return paint(); };
  at("lasso").onclick = (event) => {
    const on = event.currentTarget.getAttribute("aria-pressed") !== "true";
    event.currentTarget.setAttribute("aria-pressed", String(on));
    plot.set({ mouseMode: on ? "lasso" : "panZoom" });
  };
  at("home").onclick = () => plot.reset();
  await paint();
  document.documentElement.dataset.ready = "true";
}

if (document.createElement("canvas").getContext("webgl")) start();
else {
  at("stage").hidden = true;
  at("without").hidden = false;
}
