const SEGMENTER = new Intl.Segmenter("und", { granularity: "word" });

/** The words of a text, lower case, punctuation left out; languages without spaces are split, too. */
export function wordsOf(text: string): string[] {
	const words: string[] = [];
	for (const { segment, isWordLike } of SEGMENTER.segment(text.normalize("NFKC").toLowerCase())) if (isWordLike) words.push(segment);
	return words;
}

/** Every run of `n` words, in order. */
export function nGrams(words: readonly string[], n: number): string[] {
	return Array.from({ length: Math.max(0, words.length - n + 1) }, (_, i) => words.slice(i, i + n).join(" "));
}
