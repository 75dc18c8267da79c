/** Words of a bash command line. */

/** A word that bash takes as it is, in quotes where it needs them. */
export const quote = (word: string) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/** The words in one line. */
export const commandLine = (words: readonly (string | number)[]) => words.map((word) => quote(String(word))).join(" ");
