/** What is used of the npm package `minhash`, which has no types of its own. */
declare module "minhash" {
	export class Minhash {
		constructor(options?: { numPerm?: number; seed?: number });
		readonly hashvalues: number[];
		update(member: string): void;
	}
}
