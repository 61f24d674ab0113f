"""How good the result is, and what the selection bought. Reads answers; nothing below it does."""
