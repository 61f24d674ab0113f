// The class that an image is shown with before anybody says so, and the labels that are at odds with it.
const SURE = 0.9, FEW = 3; // of a guess, from which a label against it is odd; labelled images that a vote needs for that
// A vote of the labelled picks most like this one: it knows what was given a moment ago.
function vote(card) {
  const wanted = level(card), sums = new Map();
  let count = 0, sum = 0;
  for (const [place, weight] of card.alike || []) {
    const name = cards[place].values[wanted];
    if (!name || isMark(name)) continue;
    sums.set(name, (sums.get(name) || 0) + weight);
    sum += weight;
    count += 1;
  }
  const best = [...sums.entries()].sort((one, other) => other[1] - one[1])[0];
  return best ? { name: best[0], share: best[1] / sum, count } : null;
}
// An image of the audit has neither guess nor picks like it: a guess would lead the person, and the audit measures.
function guessOf(card) {
  if (card.guess) return card.guess[0];
  return vote(card)?.name ?? null;
}
function isOdd(item) {
  const name = labelOf(item);
  if (!name || isMark(name) || item.how === "confirmed") return false;
  if (item.guess) return item.guess[0] !== name && item.guess[1] >= SURE;
  const said = vote(item);
  return !!said && said.name !== name && said.share >= SURE && said.count >= FEW;
}
