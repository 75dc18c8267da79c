/** The command line or the config file asks for something that can't be; nothing was begun. */
export class UsageError extends Error {
	override readonly name = "UsageError";
}
