// What the page holds of all images: columns of numbers, paths, and thumbnails of some.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
const images = {
  count: data.count,
  label: new Int16Array(bytes(data.label)),
  answer: new Int16Array(bytes(data.answer)),
  prediction: new Int16Array(bytes(data.prediction)),
  confidence: Float32Array.from(new Uint8Array(bytes(data.confidence)), (part) => part / 200),
  rank: new Int32Array(bytes(data.rank)),
  tested: new Uint8Array(bytes(data.tested)),
};
const known = (i) => (images.label[i] >= 0 ? images.label[i] : images.answer[i]);
const isWrong = (i) => images.answer[i] >= 0 && images.prediction[i] >= 0 && images.answer[i] !== images.prediction[i];
const percent = (share) => `${(100 * share).toFixed(0)}\u202f%`;

// The first colours are told apart by most people; beyond them hues a golden angle apart.
const FIRST = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8c6d31", "#7b5cc4", "#c4423f", "#5f8a00"];
const GREY = "#9aa0a8";
function hue(i) {
  const h = (i * 137.508) % 360, l = [0.45, 0.6, 0.35][Math.floor(i / 12) % 3], a = 0.6 * Math.min(l, 1 - l);
  const part = (n) => {
    const k = (n + h / 30) % 12;
    return Math.round(255 * (l - a * Math.max(-1, Math.min(k - 3, 9 - k, 1)))).toString(16).padStart(2, "0");
  };
  return `#${part(0)}${part(8)}${part(4)}`;
}
const colour = (i) => (i < 0 ? GREY : i < FIRST.length ? FIRST[i] : hue(i));

function element(name, text, className) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// The lines that say what is known of an image: words, and the class of their style.
function linesOf(i) {
  const lines = [];
  if (images.label[i] >= 0) lines.push([data.classes[images.label[i]], "class"], [images.rank[i] ? `label, pick of rank ${images.rank[i] - 1}` : "label", "confidence"]);
  else if (images.rank[i]) lines.push([`pick of rank ${images.rank[i] - 1}, no label`, "confidence"]);
  if (images.prediction[i] >= 0) {
    const name = data.classes[images.prediction[i]];
    if (images.label[i] < 0) lines.push([name, images.answer[i] < 0 ? "class" : isWrong(i) ? "class bad" : "class good"]);
    else lines.push([`the others say ${name}`, images.prediction[i] === images.label[i] ? "" : "bad"]);
    if (i in data.before) lines.push([`was ${data.before[i]}`, "confidence"]);
    lines.push([`confidence ${percent(images.confidence[i])}`, "confidence"]);
  }
  if (images.answer[i] >= 0 && isWrong(i)) lines.push([`is ${data.classes[images.answer[i]]}`, ""]);
  if (images.tested[i]) lines.push(["test image", "confidence"]);
  return lines.length ? lines : [["no prediction", "confidence"]];
}

// A picture with its lines; an image without a thumbnail is its path.
function card(i, name = "li") {
  const made = element(name), uri = data.thumbs[i], lines = linesOf(i);
  made.title = data.paths[i];
  if (uri) {
    const picture = element("img", "", data.tiny ? "tiny" : "");
    picture.src = uri;
    picture.alt = lines.map((line) => line[0]).join(", ");
    made.append(picture);
  } else made.append(element("span", data.paths[i], "path"));
  for (const [words, style] of lines) made.append(element("span", words, `line ${style}`));
  return made;
}

// The paths of these images as a file, made in the page.
function save(rows, name) {
  const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const text = ["key,path", ...Array.from(rows, (i) => `${cell(data.keys[i])},${cell(data.paths[i])}`), ""].join("\n");
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
