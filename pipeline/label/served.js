// What the small server is told and asked; it goes on with the chain when the person has finished. The secret that it
// asks for is in the address of the page, and so in all that are relative to it.
const AGAIN = 2000; // milliseconds between tries, and between looks at the progress
const FEW_TRIES = 3; // after which the server is taken to be gone
const GONE = "the server does not answer";
const wait = () => new Promise((ready) => setTimeout(ready, AGAIN));
async function ask(what, body) {
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch(what, body ? options : {}).catch(() => { throw new Error(GONE); });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error || answer.status);
  return said;
}

const unsaved = []; // rows in the order in which they were given
let sending = false, again = ""; // how the server is started again
function post(items) {
  $("untaken").textContent = "";
  for (const item of items) unsaved.push({ key: item.key, ...item.values, how: item.how, seconds: item.seconds || 0, not: item.not || "" });
  tellUnsaved("");
  if (!sending) send();
}
function tellUnsaved(why) {
  $("unsaved").textContent = unsaved.length ? "not saved yet: " + unsaved.length + (why && " (" + why + "; trying again)") : "";
}
async function send() {
  sending = true;
  let tries = 0;
  while (unsaved.length) {
    const rows = unsaved.slice();
    try {
      const { refused } = await ask("labels", { rows });
      unsaved.splice(0, rows.length);
      tries = 0;
      $("here").hidden = true;
      tellUnsaved("");
      if (refused.length) $("untaken").textContent = "not taken: " + refused.map(({ key, error }) => (of.get(key)?.path || key) + " (" + error + ")").join(", ");
    } catch (error) {
      const gone = error.message === GONE && ++tries >= FEW_TRIES;
      $("here").hidden = !gone;
      tellUnsaved(gone ? GONE + ": start it again " + again + ", or save the file here" : error.message);
      await wait();
    }
  }
  sending = false;
}
async function load() {
  const { rows, again: words } = await ask("labels");
  again = words;
  for (const item of all) {
    if (!(item.key in rows)) continue; // what the page was made with is still so
    const { how, seconds, not, ...names } = rows[item.key];
    const kept = !Object.values(names).some(isMark) && item.kept; // of an earlier round: it says what the file does not
    for (const wanted of Object.keys(item.values)) {
      item.values[wanted] = names[wanted] || kept?.[wanted] || "";
      learn(item.values[wanted], wanted);
    }
    Object.assign(item, { how, seconds: how ? Number(seconds) : null, not });
  }
}
async function finish() {
  $("progress").textContent = "saving";
  await follow(async () => {
    while (unsaved.length) await wait();
    return ask("finish", {});
  });
}
// What the chain does, until it has ended; of one that nobody has started yet, the report of before, if there is one.
async function follow(first = () => ask("progress")) {
  $("save").disabled = true;
  try {
    for (let told = await first(); ; told = await ask("progress")) {
      const { state, line, report } = told, ended = state === "done" || state === "idle";
      $("progress").textContent = line;
      if (ended && report) $("progress").append(" ", make("a", { href: report }, state === "done" ? "Open the report" : "Open the last report"));
      if (state === "asks" && view === "one" && labelOf(cards[at])) goOn();
      if (state !== "running") break;
      await wait();
    }
  } catch (error) {
    $("progress").textContent = "Could not finish: " + error.message;
  }
  $("save").disabled = false;
}
