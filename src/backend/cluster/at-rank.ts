/** What a process adds to a sum in which each has a place of its own. @returns [size] `value` at its rank, else zeros */
export function atRank({ rank, size }: { readonly rank: number; readonly size: number }, value: number): number[] {
	return Array.from({ length: size }, (_, i) => (i === rank ? value : 0));
}
