// A step of reinforcement learning: sample, score, learn, report.
#include "rl/rl_stage.h"

#include <algorithm>
#include <chrono>

#include "base/log.h"
#include "data/model_texts.h"
#include "formats/model_files.h"
#include "grade/program_files.h"
#include "model/load.h"
#include "rl/pass_rate.h"
#include "rl/rl_sizes.h"
#include "rl/rollout_bytes.h"
#include "train/run_identity.h"
#include "train/stage_cut.h"

namespace dure {
namespace {

constexpr const char* kBatchFile = "batches.bin";  // of a checkpoint
constexpr int64_t kQuietStepsMax = 5;              // without an update, before a warning

// Fields that came later are there where they say anything, so that older runs go on.
Json rollout_identity(const RolloutOptions& options) {
  const Json all = to_json(options), plain = to_json(RolloutOptions{});
  Json out = Json::object();
  for (const auto& [name, value] : all.as_object()) {
    if (name == "share_prompts") continue;  // how prompts are read changes no answer
    const bool later = name == "temperature" || name == "top_p" || name == "refill_rounds";
    if (!later || value != plain.at(name)) out[name] = value;
  }
  return out;
}

}  // namespace

RlStage::RlStage(const RlConfig& config, Mesh& mesh)
    : config_(config),
      mesh_(mesh),
      init_(input_path(config.init)),
      threads_(rl_threads(config.async, ThreadPool::default_thread_count())),
      stream_(config.async.stale_steps > 0 ? threads_.trainer : 0),
      items_(rl_items(config)) {}

// Length, rates, clips and when to save may be changed when a run is continued; what its steps are
// made of may not.
Json RlStage::identity() const {
  const Json all = to_json(config_);
  Json out = Json::object();
  for (const char* name : {"seed", "updates_per_step", "tasks"}) out[name] = all.at(name);
  out["rollout"] = rollout_identity(config_.rollout);
  if (config_.kl.beta > 0) out["kl"] = all.at("kl");
  out["objective"] = name_of(config_.objective.objective);
  out["optimiser.kind"] = name_of(config_.optimiser.kind);
  if (items_ != nullptr) {
    out["items"] = items_->identity();
    out["tasks_weight"] = config_.tasks_weight;
    out["heldout.one_in"] = config_.heldout.one_in;
    if (config_.filter.samples > 0) out["filter"] = all.at("filter");
  }
  if (config_.reward != RewardOptions{}) out["reward"] = all.at("reward");
  if (config_.async.stale_steps > 0) out["async.stale_steps"] = config_.async.stale_steps;
  add_identity(config_.train, out);
  add_identity(config_.lora, out);
  out["init content"] = content_hash(init_, "model.safetensors");
  return out;
}

void RlStage::open(const Checkpoint* from) {
  // A checkpoint holds the whole model, or an adapter to what the run started from.
  const bool adapted = config_.lora.wanted();
  files_ = std::make_shared<ModelFiles>(from == nullptr || adapted ? init_ : from->path());
  texts_ = load_chat_texts(*files_);
  folder_texts_ = folder_texts(*files_, texts_.require_tokenizer());
  room_ = rl_room(config_, texts_, files_->config().context_tokens, items_.get());
  make_folders(config_.output);
  if (items_ != nullptr) {
    items_->open_graders(config_.output);
    warn_of_no_heldout();
  }
  check_experts_over_ranks(files_->config(), mesh_.shape(), config_.output);
  learner_options_ = rl_learner_options(config_, room_);
  learner_options_.stage_layers =
      stage_layers(config_.ranks, files_->config(), /*mtp=*/false, config_.output);
  open_learner({.lora = config_.lora,
                .config = files_->config(),
                .files = files_,
                .init = config_.init,
                .source = config_.output,
                .seed = static_cast<uint64_t>(config_.seed),
                .checkpoint = from == nullptr ? Path() : from->path()},
               learner_options_, stream_, mesh_, learner_);
  if (GatheredWeights::needed(mesh_.shape())) gathered_.emplace(*learner_, files_, stream_);
  if (config_.async.stale_steps > 0) {
    open_sampler(from);
  } else {
    generator_.emplace(gathered_ ? gathered_->weights() : learner_->weights(),
                       rl_generator_options(config_, room_), stream_);
  }
  if (config_.kl.beta > 0) open_reference();
  if (mesh_.world().is_first())
    samples_.emplace(config_.output, from != nullptr ? from->step() : 0);
}

// The first pass asks all ranks, of weights that are gathered.
void RlStage::meet(const Checkpoint* from) {
  if (config_.filter.samples > 0) filter_items(from != nullptr);
}

void RlStage::warn_of_no_heldout() const {
  const HeldoutItemOptions& wanted = config_.heldout;
  if (wanted.one_in == 0 || wanted.every_steps == 0 || !items_->heldout().empty()) return;
  if (mesh_.world().is_first())
    log_warn(
        "heldout.one_in is {}, and none of the {} items is held out by it: nothing will be "
        "measured; lower it, or set it to 0",
        wanted.one_in, items_->train().size());
}

void RlStage::open_sampler(const Checkpoint* from) {
  sampler_ = std::make_unique<AsyncSampler>(
      *learner_,
      AsyncSamplerOptions{.stale_steps = config_.async.stale_steps,
                          .steps = config_.steps,
                          .generator = rl_generator_options(config_, room_),
                          .arithmetic = config_.train.arithmetic,
                          .threads = threads_.sampler},
      [this](int64_t step, Generator& generator, const AsyncSampler::KeepOn& keep_on) {
        return sample(step, generator, keep_on);
      });
  if (from == nullptr) return;
  const Path file = from->path() / kBatchFile;
  const auto asked = [this](int64_t step, int64_t group_count) {
    return asked_rollouts(prompts(), step, {.begin = 0, .end = group_count}, room_);
  };
  sampler_->restore(from->step(), batches_of(read_file(file), asked, file.string()));
}

// Batches that are sampled and not learnt from: nothing of them is lost, and a run that goes on
// has the bits of one that was never stopped.
void RlStage::save_files(std::map<std::string, std::string>& files) {
  if (sampler_) files[kBatchFile] = batch_bytes(sampler_->finished());
}

Generator& RlStage::idle_generator() { return sampler_ ? sampler_->pause() : *generator_; }

void RlStage::open_reference() {
  if (config_.lora.wanted()) {
    reference_ = std::make_unique<ReferenceModel>(*learner_, config_.lora.from, stream_);
  } else {
    reference_ = std::make_unique<ReferenceModel>(init_, *learner_, stream_);
  }
}

// What pass rates depend on: nothing of how is learnt from the items afterwards.
Json RlStage::filter_settings() const {
  const Json all = identity();
  Json out = Json::object();
  for (const char* name : {"init content", "seed", "rollout", "items"}) out[name] = all.at(name);
  if (!config_.lora.from.empty()) out["lora.from content"] = all.at("lora.from content");
  out["samples"] = config_.filter.samples;
  out["arithmetic"] = name_of(config_.train.arithmetic);
  out["verifier"] = to_json(config_.verifier);
  if (config_.environment.given()) out["environment"] = to_json(config_.environment);
  Json graders = Json::array();
  for (const ItemSourceOptions& source : config_.items) graders.push_back(source.grader.json);
  out["graders"] = std::move(graders);
  Json files = program_files(out);
  for (const ItemSourceOptions& source : config_.items)
    add_program_files(to_json(source.environment), files);
  if (!files.is_null()) out["files"] = std::move(files);
  return out;
}

// A run that goes on has the pass rates that it began with: its weights are not here yet, and have
// moved since.
void RlStage::filter_items(bool continued) {
  if (!continued) gather();
  PassRateTable table(Path(config_.output) / "filter.jsonl", filter_settings(), continued,
                      mesh_.world());
  keep_by_pass_rate(
      {.samples = config_.filter.samples, .min = config_.filter.min, .max = config_.filter.max},
      prompts(), room_, idle_generator(), table, *items_, mesh_.world());
}

PromptSource RlStage::prompts() const {
  return {config_.rollout, config_.tasks, static_cast<uint64_t>(config_.seed),
          texts_,          items_.get(),  config_.reward};
}

void RlStage::add_heldout(Json& row) {
  if (items_ == nullptr || items_->heldout().empty()) return;
  gather();
  std::vector<const PoolItem*> asked;
  const int64_t total = std::ssize(items_->heldout());
  const int64_t count = std::min(config_.heldout.items_max, total);
  for (int64_t i = 0; i < count; ++i)
    asked.push_back(&items_->heldout()[static_cast<size_t>(i * total / count)]);
  const std::vector<Rollout> answers =
      answer_items(prompts(), {.items = std::move(asked), .stream = "rl held out"}, room_,
                   idle_generator(), mesh_.world());
  add_heldout_rewards(answers, *items_, row);
}

SampledBatch RlStage::draw(int64_t step) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  const auto seconds = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  if (sampler_) {
    SampledBatch out = sampler_->next(step);
    wait_s_ = seconds();
    return out;
  }
  gather();
  SampledBatch out{.step = step, .weights_step = step, .rollouts = sample(step, *generator_)};
  out.seconds = seconds();
  return out;
}

StepReport RlStage::step(const StepContext& context) {
  const SampledBatch batch = draw(context.index);
  const std::vector<Rollout>& rollouts = batch.rollouts;
  const RlLearnt learnt =
      learn_from_rollouts(rollouts,
                          {.objective = config_.objective,
                           .kl = config_.kl,
                           .reference = reference_ != nullptr ? &reference_->weights() : nullptr,
                           .updates = config_.updates_per_step,
                           .rows_max = learner_options_.pass.rows_max},
                          context, *learner_);
  gathered_stale_ = true;
  note_entropy(context, learnt);
  note_signal(context, learnt, rollouts);
  if (samples_)
    samples_->write(context.index + 1, rollouts, config_.log_samples,
                    sampler_ ? std::optional(batch.weights_step) : std::nullopt);
  StepReport out = report(rollout_stats(rollouts), learnt, batch.seconds);
  if (sampler_) {
    out.row["async/staleness"] = context.index - batch.weights_step;
    out.row["async/wait_time"] = wait_s_;
  }
  if (gathered_) {
    out.row["ranks/gathered_bytes"] = gathered_->sent_bytes() - gathered_told_;
    gathered_told_ = gathered_->sent_bytes();
  }
  if (items_ != nullptr) add_item_rewards(rollouts, *items_, out.row);
  add_reward_parts(rollouts, out.row);
  add_episodes(rollouts, out.row);
  const int64_t drawn = rollouts.back().group + 1;
  if (config_.rollout.refill_rounds > 0)
    out.row["refill_groups"] = drawn - config_.rollout.prompts_per_step;
  return out;
}

// Once for every state of the weights that somebody samples from.
void RlStage::gather() {
  if (gathered_ && gathered_stale_) gathered_->refresh();
  gathered_stale_ = false;
}

// Source: Yu et al., DAPO, 2503.14476 (dynamic sampling), with a bound.
std::vector<Rollout> RlStage::sample(int64_t step, Generator& generator,
                                     const AsyncSampler::KeepOn& keep_on) const {
  const int64_t wanted = config_.rollout.prompts_per_step;
  std::vector<Rollout> out =
      collect_rollouts(prompts(), step, room_, generator, keep_on, mesh_.world());
  int64_t drawn = wanted;
  for (int64_t round = 0; round < config_.rollout.refill_rounds; ++round) {
    const int64_t missing = wanted - weigh_rollouts(config_.objective, out).live_group_count;
    if (missing <= 0) break;
    std::vector<Rollout> more =
        collect_rollouts(prompts(), step, {.begin = drawn, .end = drawn + missing}, room_,
                         generator, keep_on, mesh_.world());
    std::move(more.begin(), more.end(), std::back_inserter(out));
    drawn += missing;
  }
  return out;
}

void RlStage::note_entropy(const StepContext& context, const RlLearnt& learnt) {
  if (learnt.objective.token_count == 0 || config_.entropy.floor == 0) return;
  const double entropy = learnt.entropy_sum / static_cast<double>(learnt.objective.token_count);
  if (entropy >= config_.entropy.floor) return;
  if (config_.entropy.action == EntropyAction::kStop) {
    fail(ErrorCode::kDiverged,
         "{}: the mean entropy is {:.4f} nats a token, below entropy.floor ({}); go on from the "
         "last checkpoint with a lower learning rate, a higher rollout.temperature or kl.beta, or "
         "a lower floor",
         context.where, entropy, config_.entropy.floor);
  }
  if (steps_below_entropy_++ % 100 == 0)
    log_warn("{}: the mean entropy is {:.4f} nats a token, below entropy.floor ({})", context.where,
             entropy, config_.entropy.floor);
}

// A step whose groups are all right or all wrong moves nothing.
void RlStage::note_signal(const StepContext& context, const RlLearnt& learnt,
                          const std::vector<Rollout>& rollouts) {
  ++steps_done_;
  steps_without_signal_ = learnt.updates.count > 0 ? 0 : steps_without_signal_ + 1;
  if (steps_without_signal_ <= 1) quiet_ = {};
  quiet_.add(rollouts);
  const bool last = context.index + 1 == config_.steps && steps_without_signal_ == steps_done_;
  const bool due = steps_without_signal_ == kQuietStepsMax ||
                   (steps_without_signal_ > 0 && steps_without_signal_ % 100 == 0);
  if ((!last && !due) || !mesh_.world().is_first()) return;
  log_warn("{}: nothing learnt in the last {} steps: {}", context.where, steps_without_signal_,
           quiet_.why());
}

StepReport RlStage::report(const RolloutStats& stats, const RlLearnt& learnt,
                           double rollout_s) const {
  const ResponseWeights& responses = learnt.responses;
  const ObjectiveStats& objective = learnt.objective;
  const double tokens = static_cast<double>(std::max<int64_t>(1, objective.token_count));
  const double entropy = learnt.entropy_sum / tokens;
  StepReport report;
  Json& row = report.row;
  row["reward"] = stats.reward_mean;
  row["reward_std"] = stats.reward_std;
  row["loss"] = learnt.loss / static_cast<double>(std::max<int64_t>(1, learnt.updates.count));
  row["entropy"] = objective.token_count > 0 ? Json(entropy) : Json();
  row["kl"] = objective.kl_sum / tokens;
  if (reference_ != nullptr) row["reference_kl"] = learnt.reference_kl_sum / tokens;
  row["sampler_mismatch_max"] = objective.mismatch_max;
  row["clip_ratio"] = static_cast<double>(objective.clipped_count) / tokens;
  row["grad_norm"] = learnt.updates.mean_gradient_norm();
  row["frac_reward_zero_std"] =
      static_cast<double>(responses.dead_group_count) / static_cast<double>(responses.group_count);
  row["completions/mean_length"] = stats.length_mean;
  row["completions/clipped_ratio"] = stats.cut_share;
  row["rollout_time"] = rollout_s;
  row["rollout_tokens_per_second"] = stats.token_count / rollout_s;
  add_task_rewards(stats, row);
  learnt.updates.add_router_load(learner_->config(), row);
  report.note =
      fmt::format("reward {:.2f}  length {:.0f}  entropy {}", stats.reward_mean, stats.length_mean,
                  objective.token_count > 0 ? fmt::format("{:.2f}", entropy) : "-");
  return report;
}

}  // namespace dure
