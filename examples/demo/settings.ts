/** The demo's settings, in one place for the demo and for the bench that measures its gain (bench/demo-gain.ts). */

/** Sampling and evaluation. */
export const DEMO = {
	batchSize: 200,
	maxNewTokens: 180,
	/** In each of both shown orders: 8 per pair. */
	samplesPerRecord: 4,
	temperature: 1,
	selection: { maxPerOrder: 2 },
} as const;

/** Fine-tuning. */
export const DEMO_TRAINING = { trainBatchSize: 32, microTrainBatchSize: 32, maxEpochs: 2, learningRate: 5e-4, betas: [0.9, 0.98] } as const;
