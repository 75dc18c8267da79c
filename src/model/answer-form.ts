/**
 * How a judge's text is built: `<think>` reasoning `</think>`, then `<answer>` one of a few texts `</answer>`. What guides generation by it
 * (a thinking budget, constrained and scored answers) looks for these tags.
 */
export const THINK_OPEN = "<think>";
export const THINK_CLOSE = "</think>";
export const ANSWER_OPEN = "<answer>";
export const ANSWER_CLOSE = "</answer>";

/** What a row that has used up its thinking budget is made to say. */
export const CLOSING = `${THINK_CLOSE}\n${ANSWER_OPEN}`;
