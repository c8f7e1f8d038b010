// rl/rl_trainer.h: reinforcement learning with verifiable rewards as one call: a configuration in,
// a run folder with its model out.
//
// Owns the configuration and its checks. A step (rl_stage.h): draw problems; G answers each from
// the engine, which reads the learner's own parameters; exact rewards; weigh_responses(); then
// `updates_per_step` updates over shares of the groups: forward, log-probabilities (on the first
// update the sampler's own bits), the objective's derivative per token, backward, clip, step. The
// router is frozen (matrix and bias) and the MTP layer is not trained, as K-EXAONE does. A KL term,
// with the model that the run began with in memory, only where kl.beta asks.
//
// Resume: a checkpoint holds weights, moments and the step; a step is a function of those and the
// seed, so an interrupted step, rollouts in flight included, is made again with the same bits. Not
// here: the order of a run (train/run.h), objectives (objectives.h), environments' problems
// (data/tasks), sampling (engine/).
#pragma once

#include <string>

#include "comm/ranks.h"
#include "formats/adapter_layout.h"
#include "rl/advantages.h"
#include "rl/objectives.h"
#include "rl/rollout.h"
#include "train/optimiser.h"
#include "train/precision.h"
#include "train/schedule.h"

namespace dure {

struct RlCheckpointOptions {
  int64_t every_steps = 10;
  int64_t keep_last = 2;
  bool keep_best = true;
  template <typename V>
  void visit(V& v) {
    v("every_steps", every_steps, "steps between checkpoints", at_least(1));
    v("keep_last", keep_last, "checkpoints kept", at_least(1));
    v("keep_best", keep_best,
      "also keep the one with the highest eval_reward; best.json says which (with held-out items)");
  }
};

struct HeldoutItemOptions {
  int64_t one_in = 10;
  int64_t every_steps = 10;
  int64_t items_max = 64;
  template <typename V>
  void visit(V& v) {
    v("one_in", one_in,
      "one item in so many, by a hash of its prompt, is never learnt from (0: none)",
      between(0, 1000000));
    v("every_steps", every_steps, "steps between their measurements, eval_reward (0: never)",
      at_least(0));
    v("items_max", items_max, "of them asked each time, the same ones", at_least(1));
  }
};

// A first pass over the items to learn from: those that the model always or never gets right teach
// nothing. Source: K-EXAONE technical report, 2601.01739 (RL data).
struct PassRateOptions {
  int64_t samples = 0;
  double min = 0, max = 1;
  template <typename V>
  void visit(V& v) {
    v("samples", samples,
      "answers to each item before the run, to keep those between min and max (0: no such pass)",
      between(0, 4096));
    v("min", min, "kept is what earns more than this on average");
    v("max", max, "and less than this");
  }
};

// The mean entropy of a token, where it is learnt from: a policy that has none left explores
// nothing.
enum class EntropyAction : uint8_t { kWarn, kStop };
constexpr auto enum_names(EntropyAction) {
  return std::to_array<EnumName<EntropyAction>>(
      {{EntropyAction::kWarn, "warn"}, {EntropyAction::kStop, "stop"}});
}
struct EntropyOptions {
  double floor = 0;
  EntropyAction action = EntropyAction::kWarn;
  template <typename V>
  void visit(V& v) {
    v("floor", floor, "least mean entropy of a step, in nats a token (0: any)", at_least(0));
    v("action", action, "below it: a warning, or the run stops at its last checkpoint");
  }
};

// Sampling that goes on while the trainer learns. Source: K-EXAONE technical report, 2601.01739
// (AGAPO off policy); DeepMind's IMPALA, 1802.01561 (truncated importance weights).
struct AsyncOptions {
  int64_t stale_steps = 0;
  int64_t sampler_threads = 0;
  template <typename V>
  void visit(V& v) {
    v("stale_steps", stale_steps,
      "steps that the weights which sampled an answer may be behind those that learn from it: "
      "sampling goes on meanwhile (0: none, sampling and learning take turns)",
      between(0, 64));
    v("sampler_threads", sampler_threads,
      "threads that sample, of those there are (0: half); the others learn", between(0, 4096));
  }
};

struct RlConfig {
  std::string init;    // model folder to start from
  std::string output;  // run folder
  int64_t seed = 1;
  int64_t steps = 50;
  // above 1 the later updates are off-policy: importance weights do their work
  int64_t updates_per_step = 1;
  int64_t micro_rows_max = 4096;  // tokens of one forward and backward
  int64_t parts = 1;              // of an update's sums, over all ranks
  RankOptions ranks;
  int64_t log_samples = 2;  // answers written to samples.jsonl a step
  RolloutOptions rollout;
  AsyncOptions async;
  TaskMixture tasks;
  double tasks_weight = 1;
  std::vector<ItemSourceOptions> items;
  VerifierOptions verifier;
  EnvironmentOptions environment;
  RewardOptions reward;
  HeldoutItemOptions heldout;
  PassRateOptions filter;
  ObjectiveOptions objective = ObjectiveOptions();
  KlOptions kl;
  EntropyOptions entropy;
  PrecisionOptions train;
  LoraOptions lora;
  OptimiserOptions optimiser{.learning_rate = 1e-3, .weight_decay = 0};
  ScheduleOptions schedule{.warmup_steps = 5, .decay_fraction = 0};
  RlCheckpointOptions checkpoint;

  // Items without `tasks` are all that is asked.
  void take_defaults(const Json& fields, const std::string& where);

  template <typename V>
  void visit(V& v) {
    v("init", init, "model folder to start from");
    v("output", output, "folder of the run: metrics, samples, checkpoints, model");
    v("seed", seed, "of problems and sampling");
    v("steps", steps, "rollout-and-update rounds", at_least(1));
    v("updates_per_step", updates_per_step, "optimiser updates on one set of rollouts",
      at_least(1));
    v("micro_rows_max", micro_rows_max,
      "tokens of one forward and backward; no effect on the result beyond rounding",
      between(64, int64_t{1} << 31));
    v("parts", parts,
      "sums that an update's gradient is made of, added as a tree; ranks share them "
      "(docs/ranks.md)",
      between(1, 65536));
    v("ranks", ranks, "processes that share the work, as a launcher starts them (docs/ranks.md)");
    v("log_samples", log_samples, "answers written to samples.jsonl a step", at_least(0));
    v("rollout", rollout, "what is sampled");
    v("async", async, "sampling beside learning (docs/training.md)");
    v("tasks", tasks, "problems drawn");
    v("tasks_weight", tasks_weight,
      "share of these problems, relative to the weights of items (with items and without tasks: 0)",
      at_least(0));
    v("items", items, "items of one's own: files, their graders and weights");
    v("verifier", verifier, "grades items that name no grader: a program, or an address");
    v("environment", environment,
      "items that name no grader are conversations with it: a program, or an address");
    v("reward", reward, "parts of the reward, with weights");
    v("heldout", heldout, "items that are measured, and never learnt from");
    v("filter", filter, "which items are learnt from: by a first pass");
    v("objective", objective, "what is maximised");
    v("kl", kl, "distance from the model that the run began with, as a part of the loss");
    v("entropy", entropy, "what happens when the policy becomes too sure");
    v("train", train, "how products round, the sampler's too");
    v("lora", lora, "an adapter is trained, the model stays as it is stored");
    v("optimiser", optimiser, "how the parameters move");
    v("schedule", schedule, "learning rate over the steps");
    v("checkpoint", checkpoint, "when the state is saved");
  }
};

// Throws kInvalidArgument naming a field that is empty or wrong, before anything is opened.
void check_rl(const RlConfig& config);

// A line for each setting that does nothing as the others stand.
std::vector<std::string> idle_settings(const RlConfig& config);

// Runs to the end, or continues where the folder's last checkpoint stands; a finished run is left
// as it is. Leaves OUTPUT/model (a Hugging Face folder). Throws kInterrupted after saving,
// kDiverged naming the step, and whatever files and options get wrong.
void run_rl(const RlConfig& config, Group& group = Group::alone());

// The first pass alone: leaves OUTPUT/filter.jsonl, which run_rl() then reads. Throws
// kInvalidArgument where filter.samples is 0.
void run_rl_filter(const RlConfig& config, Group& group = Group::alone());

}  // namespace dure
