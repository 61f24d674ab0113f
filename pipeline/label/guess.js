// The class that an image is shown with before anybody says so, and the labels that are at odds with it.
const SURE = 0.8; // of what the graph says without a label, from which on that label is odd; docs/log.md has others
// A vote of the labelled picks most like this one: it knows what was given a moment ago.
function vote(card) {
  const wanted = level(card), sums = new Map();
  for (const [place, weight] of card.like || []) {
    const name = cards[place].values[wanted];
    if (!name || isMark(name)) continue;
    sums.set(name, (sums.get(name) || 0) + weight);
  }
  const best = [...sums.entries()].sort((one, other) => other[1] - one[1])[0];
  return best ? best[0] : null;
}
// An image of the audit has neither guess nor picks like it: a guess would lead the person, and the audit measures.
function guessOf(card) {
  if (card.guess) return card.guess[0];
  return vote(card);
}
// Such a vote is no ground to doubt a label: of its warnings on emoji five in six were wrong.
function isOdd(item) {
  const name = labelOf(item);
  if (!name || isMark(name) || item.how === "confirmed" || !item.guess) return false;
  return item.guess[0] !== name && item.guess[1] >= SURE;
}
