import { describeOpContract } from "./ops.contract.js";

describeOpContract("cpu");
