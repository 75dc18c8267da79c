/** The process of one of our jobs: `tsx bench/speed/our-job.ts '{"name": "generate", …}'`; the last line it prints is its result. */
import { OUR_JOBS, type OurJob } from "./our-jobs.js";
import { measured } from "./samples.js";

const job = JSON.parse(process.argv[2]) as OurJob;
const { measurements, lengths } = await OUR_JOBS[job.name](job);
const peak = process.resourceUsage().maxRSS / 2 ** 20;
console.log(`RESULT ${JSON.stringify({ measurements: { ...measurements, peak_GiB: measured([peak]) }, lengths })}`);
