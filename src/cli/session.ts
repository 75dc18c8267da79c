/**
 * What a command has of its surroundings: where to print, how to show progress, when to stop. Results go to stdout; progress and
 * remarks go to stderr, as a bar with the time left on a terminal and as a line now and then elsewhere.
 */
import { MultiBar } from "cli-progress";
import { type Stops, stopOnSignals } from "./interrupt.js";

/** A stage under way. */
export interface Stage {
	/** @param note stands at the end of the bar. */
	update(done: number, total?: number, note?: string): void;
	end(): void;
}

export interface Session extends Stops {
	/** A result, to stdout. */
	print(text: string): void;
	/** A remark, to stderr. */
	note(text: string): void;
	/** @param total how many units there are to do. Default: known with the first update. */
	stage(name: string, total?: number): Stage;
}

/** Between two lines of progress where there is no terminal. */
const LINE_EVERY_MS = 10_000;

export function openSession(out: NodeJS.WriteStream = process.stdout, err: NodeJS.WriteStream = process.stderr): Session {
	let bars: MultiBar | undefined;
	let running = 0;
	const note = (text: string) => {
		if (bars) bars.log(`${text}\n`);
		else err.write(`${text}\n`);
	};
	/** Stages may nest (an evaluation while training): their bars stand below each other until the last one ends. */
	function barStage(name: string, firstTotal: number): Stage {
		bars ??= new MultiBar({ stream: err, barsize: 24, gracefulExit: false, emptyOnZero: true });
		running++;
		const started = performance.now();
		const format = `${name.padEnd(14)} {bar} {value}/{total}  {duration_formatted}{left}  {note}`;
		const bar = bars.create(firstTotal, 0, { left: "", note: "" }, { format });
		return {
			update(done, total, text = "") {
				if (total !== undefined) bar.setTotal(total);
				bar.update(done, { left: timeLeft(started, done, bar.getTotal()), note: text });
			},
			end() {
				bar.stop();
				if (--running > 0) return;
				bars?.stop();
				bars = undefined;
			},
		};
	}
	// A bar changes the terminal's settings; a process that ends at once must put them back.
	process.once("exit", () => bars?.stop());
	return {
		...stopOnSignals(note),
		print: (text) => void out.write(`${text}\n`),
		note,
		stage: (name, total = 0) => (err.isTTY ? barStage(name, total) : lineStage(name, total, note)),
	};
}

/** The same without results and progress, and with remarks. */
export function quietSession(session: Session): Session {
	const nothing = { update: () => undefined, end: () => undefined };
	return { ...session, print: () => undefined, stage: () => nothing };
}

function lineStage(name: string, firstTotal: number, note: (text: string) => void): Stage {
	const started = performance.now();
	let [done, total, text, printed] = [0, firstTotal, "", started];
	const line = () => {
		const seconds = ((performance.now() - started) / 1000).toFixed(0);
		note(`${name}: ${done}/${total}, ${seconds} s${timeLeft(started, done, total)}${text === "" ? "" : `, ${text}`}`);
	};
	return {
		update(newDone, newTotal = total, newText = "") {
			[done, total, text] = [newDone, newTotal, newText];
			if (performance.now() - printed < LINE_EVERY_MS) return;
			printed = performance.now();
			line();
		},
		end: line,
	};
}

/** ", about 40 s left", from the pace so far; nothing before the first unit and after the last one. */
function timeLeft(started: number, done: number, total: number): string {
	if (done <= 0 || done >= total) return "";
	const seconds = ((performance.now() - started) / 1000 / done) * (total - done);
	return seconds < 120 ? `, about ${Math.ceil(seconds)} s left` : `, about ${Math.ceil(seconds / 60)} min left`;
}
