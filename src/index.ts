/**
 * The public API. Explicit names only; nothing else in src imports this file but cli.
 */

// Backend
export { BackendUnavailableError } from "./backend/backend-unavailable-error.js";
export { WorkerLostError } from "./backend/cluster/watch-workers.js";
export { type JoinOptions, joinWorkers, type WorkerGroup } from "./backend/cluster/worker-group.js";
export type { DoctorCheck } from "./backend/doctor/doctor-check.js";
export { type DoctorReport, doctor } from "./backend/doctor.js";
export { measureProducts } from "./backend/measure-products.js";
export { BACKENDS, type BackendName, type BackendRequest, type SelectedBackend, selectBackend } from "./backend/select-backend.js";
export { SetupError, type SetupStep } from "./backend/setup/setup-error.js";
export type { SetupProgress } from "./backend/setup/setup-progress.js";
export { type SetupOptions, type SetupResult, setup } from "./backend/setup.js";
// Checkpoints
export { type CheckpointDigest, checkpointDigest } from "./checkpoint/checkpoint-digest.js";
// Data set
export type { BadRowOptions, RowCounts } from "./dataset/bad-rows.js";
export { inDevShare } from "./dataset/dev-share.js";
export { keyOf } from "./dataset/key-of.js";
export { type LoadDatasetOptions, loadDataset, type OrderPolicy, type PreferenceRecords } from "./dataset/load-dataset.js";
export { type ParsedSource, parseSources } from "./dataset/parse-source.js";
export { type PreferenceRecord, type ShownOrder, shownImages } from "./dataset/preference-record.js";
export type { ImageFault } from "./dataset/read-record.js";
export type { ShardName } from "./dataset/shard.js";
export { checkPairMapping, type PairMapping, readPairMapping } from "./dataset/sources/mapped-pairs.js";
// Files
export { DatasetError, describeProblem, ROW_PROBLEM_KINDS, type RowProblem, type RowProblemKind } from "./files/dataset-error.js";
export type { JsonRow } from "./files/parse-json-row.js";
export { readRows } from "./files/read-rows.js";
export { writeJsonArray, writeJsonLines } from "./files/write-json-rows.js";
export { writeText } from "./files/write-text.js";
// Model
export {
	type AdapterFacts,
	type AnswerOptions,
	type ContentPart,
	type EncodedConversation,
	type EncodeOptions,
	type FailedSample,
	type FinishReason,
	type GeneratedSample,
	type GenerateOptions,
	type GenerateResult,
	type GenerateStreamOptions,
	type GenerationRequest,
	type GenerativeModel,
	ImageError,
	type ImageErrorKind,
	type Matrix,
	type Message,
	type ModelInputs,
	type ModelShape,
	type Processor,
	type RepetitionDetection,
	type TrainableModel,
} from "./model/generative-model.js";
export { type HostedModel, type HostModelOptions, hostModel } from "./model/host/host-model.js";
export { ModelHostCrashedError } from "./model/host/model-host-crashed-error.js";
export { isAdapterFolder } from "./model/lora/adapter-config.js";
export type { LoraOptions } from "./model/lora/lora-options.js";
export { baseFolder } from "./model/qwen2_5_vl/adapter.js";
export { type CheckImageOptions, checkImage } from "./model/qwen2_5_vl/check-image.js";
export type { Qwen2_5VLConfig } from "./model/qwen2_5_vl/config.js";
export { initModel, type LoadModelOptions, loadModel, type SaveModelOptions, saveModel } from "./model/qwen2_5_vl/load.js";
export { type MergeAdapterOptions, mergeAdapter } from "./model/qwen2_5_vl/merge-adapter.js";
export { loadProcessor } from "./model/qwen2_5_vl/processor.js";
export type { Qwen2_5VLModel } from "./model/qwen2_5_vl/qwen2_5_vl.js";
export { readModelShape } from "./model/qwen2_5_vl/shape.js";
export { RemoteError, type RemoteErrorKind } from "./model/remote/remote-error.js";
export { type RemoteModelOptions, type RemoteRetry, remoteModel } from "./model/remote/remote-model.js";
// The report
export { type CollectReportOptions, collectReport, type ReportCollector } from "./report/collect-report.js";
export { type ReportFacts, type WriteReportOptions, writeReport } from "./report/write-report.js";
// Judging and filtering
export {
	type Calibration,
	type CalibrationBin,
	type CalibrationCollector,
	type CalibrationOptions,
	calibrate,
	collectCalibration,
	formatCalibration,
	type Observation,
} from "./reward/calibration.js";
export { correctAnswer } from "./reward/correct-answer.js";
export { drawJudgements, type JudgementDraw } from "./reward/draw-judgements.js";
export { type Evaluation, evaluate } from "./reward/evaluate.js";
export type { FilterReport, RecordCounts } from "./reward/filter-report.js";
export {
	type FilteredRecord,
	type FilterRolloutsOptions,
	filterRollouts,
	type KeptRollouts,
} from "./reward/filter-rollouts.js";
export { correct, wellFormed } from "./reward/filters/answer.js";
export { type CapOptions, cap } from "./reward/filters/cap.js";
export {
	type DifficultyBandOptions,
	difficultyBand,
	kOfN,
	majority,
	type SwapConsistentOptions,
	swapConsistent,
} from "./reward/filters/consistency.js";
export { type DecontaminateOptions, decontaminate } from "./reward/filters/decontaminate.js";
export { type LabelConfidenceOptions, labelConfidence } from "./reward/filters/label-confidence.js";
export { type NearDuplicateImagesOptions, nearDuplicateImages } from "./reward/filters/near-duplicate-images.js";
export { type NearDuplicatePromptsOptions, nearDuplicatePrompts } from "./reward/filters/near-duplicate-prompts.js";
export { type ReadScores, readScores, type Scores } from "./reward/filters/read-scores.js";
export { rewardFilter } from "./reward/filters/reward-filter.js";
export { scoresAgree } from "./reward/filters/scores-agree.js";
export { lengthBand, repeatedShare, repetition, unforced } from "./reward/filters/text.js";
export { formatFilterReport } from "./reward/format-filter-report.js";
export { gatherByRecord } from "./reward/gather-by-record.js";
export { type JudgeOptions, judgeRollout } from "./reward/judge-rollout.js";
export { collectStats, formatStats, type JudgementStats } from "./reward/judgement-stats.js";
export { type JudgedRollout, OUTCOMES, type Outcome } from "./reward/outcome.js";
export { type Judgement, parseJudgement } from "./reward/parse-judgement.js";
export type { PassRate } from "./reward/pass-rate.js";
export { readJudgedRollouts } from "./reward/read-judged-rollouts.js";
export { type FilteredRollouts, type RejectFilteredOptions, rejectFiltered } from "./reward/reject-filtered.js";
export { type AnyReward, accuracyReward, formatReward, type Reward } from "./reward/rewards.js";
export { eachJudgement, type RolloutFilter, type Verdict, wholeRecord } from "./reward/rollout-filter.js";
export { passRates, type SampleBudgetOptions, sampleBudget } from "./reward/sample-budget.js";
export { samplingScalars } from "./reward/sampling-scalars.js";
export { collectScores, formatScoreReport, type ScoreCollector, type ScoreReport } from "./reward/score-report.js";
export { type SelectedRollouts, type SelectionStats, type SelectPerRecordOptions, selectPerRecord } from "./reward/select-per-record.js";
export { BREAKDOWNS, type BreakdownRow, type BreakdownTable, type StatsBreakdown } from "./reward/stats-breakdown.js";
export { formatProportion, type Proportion, proportion } from "./reward/wilson-interval.js";
// Rounds
export { type PlanSamplesOptions, planSamples, type SamplePlan } from "./rounds/plan-samples.js";
export type { RoundOutcome, RoundResult, RoundTask } from "./rounds/round.js";
export { RoundError } from "./rounds/round-file.js";
export { type RunRoundsOptions, runRounds } from "./rounds/run-rounds.js";
// Sampling
export { cotConfiguration, type GenerateCotOptions, generateCoT } from "./sampler/generate-cot.js";
export { generateTogether } from "./sampler/generate-together.js";
export { type Journal, type JournalState, type OpenJournalOptions, openJournal } from "./sampler/journal.js";
export type { JournalConfiguration } from "./sampler/journal-configuration.js";
export { JournalError } from "./sampler/journal-error.js";
export { rolloutKey } from "./sampler/journal-key.js";
export type { JournalEntry, JournalHeader, StoredRollout } from "./sampler/journal-line.js";
export { compactJournal, type MergeReport, mergeJournals } from "./sampler/merge-journals.js";
export { ANSWERS, DEFAULT_COT_PROMPT, DEFAULT_NO_COT_PROMPT, fillTemplate, judgeMessages, readPromptTemplate } from "./sampler/prompt.js";
export { isJournal, type ReadJournal, readJournal, readJournalRollouts } from "./sampler/read-journal.js";
export type { Rollout, VerdictScore } from "./sampler/rollout.js";
export type { SamplingProgress } from "./sampler/sampling-progress.js";
export { type ImagePair, type OrderScore, type PairScore, type ScorePairOptions, scorePair, scorePairs } from "./sampler/score-pair.js";
export { rolloutSeed } from "./sampler/seed.js";
// Conversations and training
export type { DroppedRow, TrainingConversation, TrainingRow } from "./trainer/collate.js";
export type { DpoOptions } from "./trainer/dpo.js";
export type { HeldOutConversation } from "./trainer/evaluation-loss.js";
export type { Evaluate, Evaluated, JudgedScores } from "./trainer/evaluator.js";
export { EXPORT_LAYOUTS, type ExportLayout } from "./trainer/export/layouts.js";
export { EXPORT_KINDS, type ExportKind } from "./trainer/export/training-rows.js";
export {
	EXPORT_FORMATS,
	type ExportCounts,
	type ExportFormat,
	exportFiles,
	type WriteExportsOptions,
	writeExports,
} from "./trainer/export/write-exports.js";
export { type TrainerDataLayout, type WriteTrainerDataOptions, writeTrainerData } from "./trainer/export/write-trainer-data.js";
export { formatTrainingPlan } from "./trainer/format-training-plan.js";
export { FREEZE_PRESETS, frozenBy } from "./trainer/freeze.js";
export { LR_SCHEDULERS, type LrScheduler } from "./trainer/lr-schedule.js";
export { OPTIMIZERS, type OptimizerName } from "./trainer/make-optimizer.js";
export { MetricsLog } from "./trainer/metrics-log.js";
export { type PlanTrainingOptions, planTraining, type TrainingPlan } from "./trainer/plan-training.js";
export { PREFERENCE_LOSSES, type PreferenceLoss } from "./trainer/preference-loss.js";
export type { PreferencePair } from "./trainer/preference-pair.js";
export { readPreferencePairs } from "./trainer/read-preference-pairs.js";
export type { ZeroStage } from "./trainer/sharding/exchange-with.js";
export { readConversations, type ShareGptConversation, writeConversations } from "./trainer/sharegpt.js";
export type { StepCost } from "./trainer/step-meter.js";
export { type RowSurvey, type SurveyRowsOptions, surveyRows } from "./trainer/survey-rows.js";
export { type ToConversationOptions, toConversation } from "./trainer/to-conversation.js";
export { toPreferencePairs } from "./trainer/to-preference-pairs.js";
export { Trainer, type TrainerOptions } from "./trainer/trainer.js";
export { NonFiniteLossError, type StepRecord, type TrainingEvent, type TrainResult } from "./trainer/training-events.js";
