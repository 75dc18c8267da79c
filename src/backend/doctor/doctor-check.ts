/** One line of `doctor`: what was looked for, what is there, and how to get what is missing. */
export interface DoctorCheck {
	/** What was looked for, e.g. `sharp`. */
	name: string;
	/** False when something that the library needs here is missing or broken. */
	ok: boolean;
	/** What is there: a version, a path, a number with its unit, or what went wrong. */
	found: string;
	/** The command, or the deed, that makes `ok` true; present when `ok` is false. */
	fix?: string;
}
