/** Runs setup as a process of its own, for the test that runs two at once. */
import { setup } from "../../src/backend/setup.js";

const { probe } = await setup({ device: "cpu" });
process.stdout.write(`staged TensorFlow ${probe.tensorflowVersion}\n`);
